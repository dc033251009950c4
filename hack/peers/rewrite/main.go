// Command rewrite reads a .tflite and writes it again: the Go side of roundtrip_check.py.
package main

import (
	"fmt"
	"os"

	"espalier.dev/espalier/optimizer/tflite"
)

func main() {
	if err := rewrite(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func rewrite(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: rewrite FROM TO")
	}
	m, err := tflite.ReadFile(args[0])
	if err != nil {
		return err
	}
	return tflite.WriteFile(args[1], m)
}
