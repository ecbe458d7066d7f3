import base64

from fac_stream.alerts.signature import sign

KEY = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
BODY = b'{"test": 2432232314}'


def test_the_published_example():
    """The signature of the example that the Standard Webhooks libraries test with."""
    assert sign(KEY, ID, 1614265330, BODY) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_everything_signed_matters():
    """Another key, id, time or body gives another signature."""
    original = sign(KEY, ID, 1, BODY)

    others = {
        sign(KEY[::-1], ID, 1, BODY),
        sign(KEY, ID + "x", 1, BODY),
        sign(KEY, ID, 2, BODY),
        sign(KEY, ID, 1, BODY + b" "),
    }
    assert original not in others
    assert len(others) == 4
