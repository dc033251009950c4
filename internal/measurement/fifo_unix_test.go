//go:build unix

package measurement

import "syscall"

func fifo(file string) error { return syscall.Mkfifo(file, 0o600) }
