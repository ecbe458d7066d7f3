#!/bin/sh
# Sends this machine's microphone to the one port, as Opus: ./gstreamer.sh 192.0.2.20 5004
set -eu
gst-launch-1.0 autoaudiosrc ! audioconvert ! audioresample ! opusenc ! rtpopuspay pt=107 ! udpsink host="$1" port="$2"
