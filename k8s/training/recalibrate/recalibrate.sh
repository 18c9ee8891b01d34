#!/bin/sh
# Yesterday's video lies in /video/YYYY-MM-DD/SCENE/, a folder a scene. Checkpoints before the last
# thirty days' recalibrations stay in /models/.previous.
set -eu
served=/models/$MODEL.safetensors
day=$(date --utc --date=yesterday +%F)
work=$(mktemp --directory /models/.recalibrate.XXXXXX)
trap 'rm -rf "$work"' EXIT

current=$served
for folder in "/video/$day"/*/; do
    [ -d "$folder" ] || continue
    scene=$(basename "$folder")
    protoguard-trainer calibrate --checkpoint "$current" --data "$folder" \
        --scene "$scene" --out "$work/$scene.safetensors"
    current=$work/$scene.safetensors
done
if [ "$current" = "$served" ]; then
    echo "no scene in /video/$day; folders /video/$day/SCENE are expected" >&2
    exit 1
fi

mkdir -p /models/.previous
cp "$served" "/models/.previous/$MODEL-before-$day.safetensors"
find /models/.previous -type f -mtime +30 -delete
# A rename: a server that reads the folder sees the old checkpoint or the new one, whole.
mv "$current" "$served"
