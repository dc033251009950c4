package main

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFiguresAreRounded(t *testing.T) {
	for _, test := range []struct {
		value string
		room  int
		want  string
	}{
		{"0.123456", 7, "0.12346"}, {"0.9", 7, "0.9"}, {"-0.012345", 7, "-0.0123"}, {"123456.789", 7, "123457"}, {"12345678", 7, "12345678"},
		{"99.96", 1, "100"}, {"0.6", 1, "1"}, {"1042", 1, "1042"}, {"-", 7, "-"},
	} {
		if got := rounded(test.value, test.room); got != test.want {
			t.Errorf("%s in %d characters: %s, want %s", test.value, test.room, got, test.want)
		}
	}
}

func TestALongVerdictStandsBelowItsRow(t *testing.T) {
	row, verdict := strings.Repeat("x", 60), strings.Repeat("Accuracy is 0.91, at least 0.95 is asked for; ", 4)
	for _, width := range []int{80, 100, 130} {
		got := beside(row, verdict, width)
		if !strings.HasPrefix(got, row+"\n  Accuracy") {
			t.Errorf("%d columns: the verdict is not below:\n%s", width, got)
		}
		for _, line := range strings.Split(got, "\n") {
			if utf8.RuneCountInString(line) > width {
				t.Errorf("%d columns: a line of %d", width, utf8.RuneCountInString(line))
			}
		}
		if strings.Join(strings.Fields(got), " ") != row+" "+strings.TrimSpace(verdict) {
			t.Errorf("%d columns: words were lost:\n%s", width, got)
		}
	}
	for _, width := range []int{0, 80} {
		if got, want := beside(row, "no constraints", width), row+"  no constraints\n"; got != want {
			t.Errorf("%d columns: %q, want %q", width, got, want)
		}
	}
}
