package main

import (
	"os"
	"testing"
)

// asCommand has the test binary be the command: tests run it as a process of its own.
const asCommand = "ESPALIER_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}
