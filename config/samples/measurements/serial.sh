#!/bin/sh
# What a board on a serial line says of a leaf: serial.sh DEVICE LEAF, such as serial.sh /dev/ttyACM0 leaf.tflite.
# It sends a line with the file's size, then the file. The board's firmware answers with one line, the cycles of an inference and the
# bytes of arena, or with "no" where the leaf does not fit it.
set -eu
stty -F "$1" 115200 raw -echo
exec 3<>"$1"
wc -c <"$2" >&3
cat "$2" >&3
read -r cycles arena <&3
[ "$cycles" != no ] || cycles=null arena=null
echo "{\"metrics\": {\"board_cycles\": $cycles, \"board_arena_bytes\": $arena}}"
