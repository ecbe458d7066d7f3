// Sends this browser's microphone to the daemon: docs/connect/whip.md

const PLAIN = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** Begins a call; returns a function that ends it. */
export async function publish(endpoint, token) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: PLAIN });
  const [track] = stream.getAudioTracks();
  const connection = new RTCPeerConnection();
  const stop = () => {
    connection.close();
    track.stop();
  };
  try {
    connection.addTransceiver(track, { direction: 'sendonly', streams: [stream] });
    await connection.setLocalDescription();
    const response = await fetch(endpoint, {
      method: 'POST',
      headers: { 'Content-Type': 'application/sdp', Authorization: `Bearer ${token}` },
      body: connection.localDescription.sdp,
    });
    if (!response.ok) throw new Error((await response.json()).error.message);
    await connection.setRemoteDescription({ type: 'answer', sdp: await response.text() });
  } catch (error) {
    stop();
    throw error;
  }
  return stop;
}
