package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFlowed(t *testing.T) {
	for name, test := range map[string]struct {
		text  string
		width int
		want  string
	}{
		"no terminal":                        {"note     one two three\n", 0, "note     one two three\n"},
		"a line that fits stays":             {"a  b   c\n\nd\n", 8, "a  b   c\n\nd\n"},
		"at words":                           {"one two three four", 9, "one two\nthree\nfour"},
		"a line just as long as the width":   {"one two three", 7, "one two\nthree"},
		"behind a label":                     {"note     the first words and more of them\n", 34, "note     the first words and more\n         of them\n"},
		"behind a flag and its type":         {"  -o, --out string    folder for all the results of it\n", 48, "  -o, --out string    folder for all the results\n                      of it\n"},
		"below a label that leaves no room":  {"  --a-very-long-flag string    what it is good for\n", 40, "  --a-very-long-flag string    what it\n      is good for\n"},
		"comments stay comments":             {"# one two three four\n- name: x\n", 12, "# one two\n# three four\n- name: x\n"},
		"an indent stays":                    {"  one two three four\n", 11, "  one two\n  three\n  four\n"},
		"a word longer than a line is whole": {"see /a/very/long/path/to/a/file now", 12, "see\n/a/very/long/path/to/a/file\nnow"},
		"characters, not their code":         {"ü ö ä ß µ", 5, "ü ö ä\nß µ"},
		"a terminal too narrow for anything": {"note     one two", 1, "note\none\ntwo"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := flowed(test.text, test.width); got != test.want {
				t.Errorf("got\n%q\nwant\n%q", got, test.want)
			}
		})
	}
}

func FuzzFlowed(f *testing.F) {
	f.Add("note     a b", 5)
	f.Add("# ", 1)
	f.Fuzz(func(t *testing.T, text string, width int) {
		words := func(text string) []string {
			return strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\n' || r == '#' })
		}
		if got, want := words(flowed(text, width)), words(text); strings.ToValidUTF8(strings.Join(got, " "), "?") != strings.ToValidUTF8(strings.Join(want, " "), "?") && utf8.ValidString(text) {
			t.Errorf("words were lost in %d columns: %q of %q", width, got, want)
		}
	})
}

// An example that is broken is still one that a shell takes.
func TestContinued(t *testing.T) {
	got := continued("  espalier check a.tflite\n  espalier search model.tflite --constraint '{metric: Agreement, min: 0.97}' -o out/", 50)
	want := "  espalier check a.tflite\n  espalier search model.tflite \\\n    --constraint '{metric: Agreement, min: 0.97}' \\\n    -o out/"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestJoined(t *testing.T) {
	if got, want := joined("one\ntwo. The\n\n  a   b\n  c   d\n\nthree\nfour"), "one two. The\n\n  a   b\n  c   d\n\nthree four"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// helpOf is a command's help in a terminal of so many columns; 0: in a file.
func helpOf(t *testing.T, width int, path ...string) string {
	t.Helper()
	var out bytes.Buffer
	root := newRootCommand(&ioStreams{Out: &out, Err: &out, width: width, widthErr: width})
	root.SetArgs(append(path, "--help"))
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestHelpFitsTheTerminal(t *testing.T) {
	verbs := [][]string{nil}
	for _, c := range newRootCommand(&ioStreams{}).Commands() {
		verbs = append(verbs, []string{c.Name()})
	}
	for _, path := range verbs {
		whole := helpOf(t, 0, path...)
		for _, width := range []int{60, 80, 120, 200} {
			page := helpOf(t, width, path...)
			for line := range strings.Lines(page) {
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > width {
					t.Errorf("%v in %d columns: a line of %d: %s", path, width, n, line)
				}
			}
			if got, want := strings.Fields(strings.ReplaceAll(page, " \\\n", "")), strings.Fields(whole); strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("%v in %d columns: other words than in a file:\n%s", path, width, page)
			}
		}
	}
}

// What is told on standard error is broken by its own width, whatever standard output is.
func TestErrIsBrokenByItsOwnWidth(t *testing.T) {
	var out, told bytes.Buffer
	s := &ioStreams{Out: &out, Err: &told, widthErr: 24}
	s.say("one two three four five six seven")
	s.note("one two three four five")
	if want := "one two three four five six seven\n"; out.String() != want {
		t.Errorf("Out: %q, want %q", out.String(), want)
	}
	if want := "note     one two three\nfour five\n"; told.String() != strings.ReplaceAll(want, "\nfour", "\n    four") {
		t.Errorf("Err: %q, want %q", told.String(), want)
	}
}
