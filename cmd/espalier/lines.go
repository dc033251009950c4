package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// terminalWidth are the columns of a terminal: what COLUMNS says, else what it is asked for; 0 where neither knows.
func terminalWidth(set string, ask func() (int, error)) int {
	if width, err := strconv.Atoi(set); err == nil && width > 0 {
		return width
	}
	if width, err := ask(); err == nil {
		return width
	}
	return 0
}

// say writes a text to Out, broken at words where that is a terminal.
func (s *ioStreams) say(format string, args ...any) {
	fmt.Fprint(s.Out, flowed(s.text(format, args...), s.width))
}

// tell writes a text to Err, broken at words where that is a terminal.
func (s *ioStreams) tell(format string, args ...any) {
	fmt.Fprint(s.Err, flowed(s.text(format, args...), s.widthErr))
}

// note tells of something that no result shows.
func (s *ioStreams) note(format string, args ...any) { s.tell("note     "+format, args...) }

// label is what a line begins with that those it is broken into stand behind: its indent, with the text before the first gap of two spaces.
var label = regexp.MustCompile(`^ *(\S+( \S+)* {2,})?`)

// leastText are the columns of text that a label has to leave, or lines begin below it.
const leastText = 24

// flowed are the lines of a text, those longer than width columns broken at spaces; 0: none is. A word that is longer stays whole, and comments stay
// comments.
func flowed(text string, width int) string {
	if width <= 0 {
		return text
	}
	var out strings.Builder
	for line := range strings.Lines(text) {
		line, ended := strings.CutSuffix(line, "\n")
		hang := hangOf(line, width)
		for utf8.RuneCountInString(line) > width {
			at := breakOf([]rune(line), utf8.RuneCountInString(hang), width)
			if at < 0 {
				break
			}
			runes := []rune(line)
			out.WriteString(strings.TrimRight(string(runes[:at]), " ") + "\n")
			line = hang + strings.TrimLeft(string(runes[at:]), " ")
		}
		out.WriteString(line)
		if ended {
			out.WriteString("\n")
		}
	}
	return out.String()
}

// hangOf is what the lines begin with that a long one is broken into, but the first.
func hangOf(line string, width int) string {
	if strings.HasPrefix(line, "# ") {
		return "# "
	}
	indent := len(line) - len(strings.TrimLeft(line, " "))
	behind := utf8.RuneCountInString(label.FindString(line))
	if behind > indent && behind > width-leastText {
		behind = indent + 4
	}
	return strings.Repeat(" ", min(behind, width/2))
}

// breakOf is the index of the last space of a line, behind its first from characters, that leaves no more than width before it, else of the first
// there is; -1 without any.
func breakOf(line []rune, from, width int) int {
	first := -1
	for i := from + 1; i < len(line); i++ {
		switch {
		case line[i] != ' ' || line[i-1] == ' ':
		case i <= width:
			first = i
		case first < 0:
			return i
		default:
			return first
		}
	}
	return first
}

// wrapped are lines of at most width columns, indented by two; 0: one line. A word that is longer is cut.
func wrapped(text string, width int) string {
	const indent = "  "
	var out strings.Builder
	length := 0
	for _, word := range strings.Fields(text) {
		if width > len(indent)+2 {
			word = shorten(word, width-len(indent))
		}
		n := utf8.RuneCountInString(word)
		switch {
		case length == 0:
			out.WriteString(indent)
			length = len(indent)
		case width > 0 && length+1+n > width:
			out.WriteString("\n" + indent)
			length = len(indent)
		default:
			out.WriteString(" ")
			length++
		}
		out.WriteString(word)
		length += n
	}
	return out.String() + "\n"
}

// mostHelp are the columns that help is laid in at most: longer lines are hard to follow.
const mostHelp = 120

// help shows a command's help by another function, broken at words where Out is a terminal.
func (s *ioStreams) help(show func(*cobra.Command, []string)) func(*cobra.Command, []string) {
	if s.width <= 0 {
		return show
	}
	return func(cmd *cobra.Command, args []string) {
		width := min(s.width, mostHelp)
		cmd.Long, cmd.Example = joined(cmd.Long), continued(cmd.Example, width)
		var page bytes.Buffer
		cmd.SetOut(&page)
		show(cmd, args)
		cmd.SetOut(s.Out)
		fmt.Fprint(s.Out, flowed(page.String(), width))
	}
}

// joined is a text with one line a paragraph; lines that are indented stay.
func joined(text string) string {
	var out []string
	for _, line := range strings.Split(text, "\n") {
		if last := len(out) - 1; last >= 0 && line != "" && out[last] != "" && line[0] != ' ' && out[last][0] != ' ' {
			out[last] += " " + line
			continue
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

// argument is one of a shell's command, with quotes, and behind the flag that it may be the value of.
var argument = regexp.MustCompile(`(--?[a-z-]+ +)?('[^']*'|"[^"]*"|[^ '"])+`)

// continued are shell commands, one a line, those longer than width columns going on in a next line as a shell takes it.
func continued(commands string, width int) string {
	lines := strings.Split(commands, "\n")
	for i, line := range lines {
		if utf8.RuneCountInString(line) <= width {
			continue
		}
		text, used := "", 0
		for _, word := range argument.FindAllString(line, -1) {
			n := utf8.RuneCountInString(word)
			switch {
			case used == 0:
				text, used = "  ", 1
			case used+1+n+len(` \`) > width:
				text, used = text+" \\\n    ", 3
			default:
				text += " "
			}
			text, used = text+word, used+1+n
		}
		lines[i] = text
	}
	return strings.Join(lines, "\n")
}
