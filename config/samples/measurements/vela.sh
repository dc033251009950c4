#!/bin/sh
# What Vela, Arm's compiler for the Ethos-U, estimates of a leaf: vela.sh ACCELERATOR LEAF, such as vela.sh ethos-u55-128 leaf.tflite.
# It needs vela in PATH: python3 -m venv vela && vela/bin/pip install ethos-u-vela && export PATH=$PWD/vela/bin:$PATH
set -eu
vela --accelerator-config "$1" --output-dir "$TMPDIR" "$2" >&2
awk -F , '
{ sub(/\r$/, "") }
NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i }
NR == 2 {
	if (!("cycles_total" in column) || !("total_npu_encoded_weights" in column)) exit 1
	printf "{\"metrics\": {\"npu_cycles\": %.0f, \"npu_weight_bytes\": %.0f}}\n", $column["cycles_total"], $column["total_npu_encoded_weights"]
	found = 1
}
END { exit !found }' "$TMPDIR"/*_summary_*.csv
