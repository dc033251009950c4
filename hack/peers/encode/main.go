// Command encode encodes the weights of an int8 .tflite for TFLM's DECODE operator: the Go side of encode.py.
package main

import (
	"fmt"
	"os"

	"espalier.dev/espalier/optimizer/leaf"
	"espalier.dev/espalier/optimizer/lineage"
	"espalier.dev/espalier/optimizer/tflite"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("usage: encode FROM TO Auto|LUT|Huffman|Prune|None")
	}
	m, err := tflite.ReadFile(args[0])
	if err != nil {
		return err
	}
	made, err := leaf.Encode(m, lineage.Encoding(args[2]).Kinds()...)
	if err != nil {
		return err
	}
	return tflite.WriteFile(args[1], made.Model)
}
