package artifact

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestErrorsOfFileSystemsAreToldApart(t *testing.T) {
	tests := map[string]struct {
		err       error
		kind      error
		temporary bool
		word      string
	}{
		"a full disk does not pass by itself":       {&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, syscall.ENOSPC, false, "make room"},
		"nor does a quota":                          {&fs.PathError{Op: "write", Path: "x", Err: syscall.EDQUOT}, syscall.EDQUOT, false, "make room"},
		"nor a file system that is read-only":       {&fs.PathError{Op: "open", Path: "x", Err: syscall.EROFS}, syscall.EROFS, false, "another place"},
		"nor a file where a folder should be":       {&fs.PathError{Op: "open", Path: "x", Err: syscall.ENOTDIR}, syscall.ENOTDIR, false, "not a directory"},
		"an NFS server that moved on may come back": {&fs.PathError{Op: "read", Path: "x", Err: syscall.ESTALE}, ErrTemporary, true, ""},
		"so may a server that refuses":              {&net.OpError{Op: "dial", Err: &os.SyscallError{Syscall: "connect", Err: syscall.ECONNREFUSED}}, ErrTemporary, true, ""},
		"a name that is not resolved may be later":  {&net.DNSError{Err: "no such host", Name: "minio"}, ErrTemporary, true, ""},
		"somebody else's file":                      {&fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, ErrDenied, false, "fsGroup"},
		"no file":                                   {&fs.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}, ErrNotFound, false, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := explain("the store", tt.err)
			if !errors.Is(err, tt.kind) || errors.Is(err, ErrTemporary) != tt.temporary || !strings.Contains(err.Error(), tt.word) {
				t.Errorf("%v", err)
			}
		})
	}
}
