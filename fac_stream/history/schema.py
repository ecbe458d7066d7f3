"""The tables of ``history.db``.

::

    call ─┬─ number      who called whom, hashed
          ├─ leg         where each leg stood at the end, or when last heard of
          ├─ decision    every change
          ├─ step        the timeline, a row every STEP_S seconds
          └─ alert       also health alerts, which have no call
    deletion             calls that the daemon has still to tell everybody about

A call's ``id`` is when it was accepted, microseconds since 1970, and with it the order of calls. Calls may
bear the same ``call_id`` one after the other.
"""

STEP_S = 5
"""Seconds of the call that one row of a timeline sums up."""
CRASH = "crash"
"""``end_reason`` of calls that ended with their daemon; the others are those of ``call.ended``."""

MIGRATIONS = (
    """
    CREATE TABLE call (
        id INTEGER PRIMARY KEY,
        call_id TEXT NOT NULL,
        life TEXT NOT NULL,
        source TEXT NOT NULL,
        model TEXT NOT NULL,
        sample_rate INTEGER NOT NULL,
        encoding TEXT NOT NULL,
        metadata TEXT NOT NULL,
        ended_at REAL,
        end_reason TEXT,
        duration_s REAL,
        lost_s REAL,
        decision TEXT NOT NULL DEFAULT 'unknown'
    ) STRICT;
    CREATE INDEX call_name ON call (call_id);
    CREATE INDEX call_decision ON call (decision, id);
    CREATE INDEX call_open ON call (life) WHERE end_reason IS NULL;
    CREATE TABLE number (
        call INTEGER NOT NULL REFERENCES call (id) ON DELETE CASCADE,
        role TEXT NOT NULL,
        hash TEXT NOT NULL,
        plain TEXT,
        PRIMARY KEY (call, role, hash)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX number_hash ON number (hash, call);
    CREATE TABLE leg (
        call INTEGER NOT NULL REFERENCES call (id) ON DELETE CASCADE,
        leg TEXT NOT NULL,
        decision TEXT NOT NULL,
        worst_decision TEXT NOT NULL,
        smoothed REAL,
        peak_score REAL,
        windows INTEGER NOT NULL,
        scored INTEGER NOT NULL,
        speech_s REAL,
        quality TEXT NOT NULL DEFAULT '[]',
        PRIMARY KEY (call, leg)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE decision (
        call INTEGER NOT NULL REFERENCES call (id) ON DELETE CASCADE,
        seq INTEGER NOT NULL,
        leg TEXT NOT NULL,
        time REAL NOT NULL,
        at_s REAL NOT NULL,
        previous TEXT NOT NULL,
        decision TEXT NOT NULL,
        smoothed REAL,
        speech_s REAL NOT NULL,
        PRIMARY KEY (call, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE step (
        call INTEGER NOT NULL REFERENCES call (id) ON DELETE CASCADE,
        leg TEXT NOT NULL,
        step INTEGER NOT NULL,
        windows INTEGER NOT NULL,
        scored INTEGER NOT NULL,
        mean REAL,
        peak REAL,
        smoothed REAL,
        decision TEXT NOT NULL,
        PRIMARY KEY (call, leg, step)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE alert (
        alert_id TEXT PRIMARY KEY,
        call INTEGER REFERENCES call (id) ON DELETE CASCADE,
        leg TEXT,
        category TEXT NOT NULL,
        rule TEXT NOT NULL,
        severity TEXT NOT NULL,
        raised_at REAL NOT NULL,
        at_s REAL NOT NULL,
        smoothed REAL,
        model TEXT NOT NULL,
        resolved_at REAL,
        resolution TEXT,
        verdict TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX alert_call ON alert (call);
    CREATE TABLE deletion (
        call_id TEXT PRIMARY KEY
    ) STRICT, WITHOUT ROWID
    """,
    "ALTER TABLE deletion ADD COLUMN who TEXT NOT NULL DEFAULT ''",
)
"""Times with ``_at`` are Unix seconds. ``life``: which run of a daemon wrote it. ``metadata`` and ``quality``
are JSON. ``step``: counts ``STEP_S`` from the call's beginning."""
