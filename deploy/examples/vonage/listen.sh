curl -X POST https://api.nexmo.com/v1/calls \
  -H "Authorization: Bearer $VONAGE_JWT" \
  -H "Content-Type: application/json" \
  -d '{
    "to": [
      {
        "type": "websocket",
        "uri": "wss://voice.example.org/ws/vonage",
        "content-type": "audio/l16;rate=16000",
        "headers": {
          "token": "REPLACE-WITH-THE-TOKEN",
          "call_id": "REPLACE-WITH-THE-CALL",
          "queue": "claims"
        }
      }
    ],
    "from": {"type": "phone", "number": "15551234567"},
    "ncco": [{"action": "conversation", "name": "claims-REPLACE-WITH-THE-CALL", "mute": true}]
  }'
