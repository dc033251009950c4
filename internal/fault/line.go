package fault

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// Line is the text of err on one line, as errors are told to people.
func Line(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(withRemedy(err).Error(), "\n", "; ")), " ")
}

// withRemedy says what to do about what may go wrong wherever files are read and written.
func withRemedy(err error) error {
	if errors.Is(err, syscall.ENOSPC) && !strings.Contains(err.Error(), "make room") {
		return fmt.Errorf("%w: the disk is full: make room and run again, what is finished is not repeated", err)
	}
	for cause, remedy := range map[syscall.Errno]string{
		syscall.ENOENT: "check the path", syscall.EISDIR: "name a file in it", syscall.ENOTDIR: "check the path", syscall.EACCES: "see to it that you may read and write there",
	} {
		if errors.Is(err, cause) && strings.HasSuffix(err.Error(), cause.Error()) { // else something is said already
			return fmt.Errorf("%w: %s", err, remedy)
		}
	}
	return err
}
