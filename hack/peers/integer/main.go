// Command integer runs a .tflite through optimizer/integer for a peer's script: it reads samples from standard input, each the
// raw little-endian bytes of every model input in order, and writes the raw bytes of every output in order.
//
//	go run ./hack/peers/integer [-tflm] leaf.tflite < samples > answers
//
// With -tflm it computes as TensorFlow Lite Micro does.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/tflite"
)

func main() {
	tflm := flag.Bool("tflm", false, "compute as TensorFlow Lite Micro does")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: integer [-tflm] MODEL < samples > answers")
		os.Exit(2)
	}
	var options []integer.Option
	if *tflm {
		options = append(options, integer.TFLM())
	}
	if err := run(flag.Arg(0), os.Stdin, os.Stdout, options...); err != nil {
		fmt.Fprintln(os.Stderr, "integer:", err)
		os.Exit(1)
	}
}

// run answers samples until the input ends.
func run(path string, in io.Reader, out io.Writer, options ...integer.Option) error {
	m, err := tflite.ReadFile(path)
	if err != nil {
		return err
	}
	e, err := integer.Compile(m, 1, options...)
	if err != nil {
		return err
	}
	samples, answers := bufio.NewReader(in), bufio.NewWriter(out)
	g := e.Graph()
	for {
		for i, t := range g.Inputs {
			x := make([]byte, len(e.Tensor(t)))
			if _, err := io.ReadFull(samples, x); errors.Is(err, io.EOF) && i == 0 {
				return answers.Flush()
			} else if err != nil {
				return fmt.Errorf("input %d: %w", i, err)
			}
			if err := e.SetInputBytes(i, x); err != nil {
				return err
			}
		}
		if err := e.Run(); err != nil {
			return err
		}
		for i := range g.Outputs {
			if _, err := answers.Write(e.OutputBytes(i)); err != nil {
				return err
			}
		}
	}
}
