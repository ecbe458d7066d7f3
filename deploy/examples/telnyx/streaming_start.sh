curl -X POST "https://api.telnyx.com/v2/calls/$CALL_CONTROL_ID/actions/streaming_start" \
  -H "Authorization: Bearer $TELNYX_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{
    "stream_url": "wss://voice.example.org/ws/twilio",
    "stream_track": "both_tracks",
    "stream_codec": "PCMU",
    "stream_auth_token": "REPLACE-WITH-THE-TOKEN"
  }'
