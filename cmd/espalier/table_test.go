package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/measure"
	reporting "espalier.dev/espalier/optimizer/report"
	"espalier.dev/espalier/optimizer/sensitivity"
)

func TestLaid(t *testing.T) {
	titles := []string{"NAME", "BYTES", "WHY"}
	rows := [][]string{{"a", "12345", "-"}, {"model/block/conv2d/kernel", "7", "it is much too long for this terminal"}}
	for name, test := range map[string]struct {
		titles []string
		rows   [][]string
		width  int
		want   string
	}{
		"no terminal": {titles, rows, 0, `NAME                       BYTES  WHY
a                          12345  -
model/block/conv2d/kernel  7      it is much too long for this terminal
`},
		"what has no room stands below": {titles, rows, 40, `NAME                  BYTES
a                     12345
model/blo…2d/kernel   7
  WHY it is much too long for this
  terminal
`},
		"the name gives way first":   {titles, rows, 70, "NAME                      BYTES  WHY\n" + "a                         12345  -\n" + "model/block…nv2d/kernel   7      it is much too long for this terminal\n"},
		"no header":                  {nil, [][]string{{"Accuracy", strings.Repeat("0.9 ", 9)}}, 30, "Accuracy\n  0.9 0.9 0.9 0.9 0.9 0.9 0.9\n  0.9 0.9\n"},
		"a word as long as no line":  {titles, [][]string{{"a", "1", strings.Repeat("x", 50)}}, 24, "NAME  BYTES\na     1\n  WHY\n  xxxxxxxxxx…xxxxxxxxxx\n"},
		"one cell in a row":          {nil, [][]string{{strings.Repeat("y", 50)}}, 21, "yyyyyyyyyy…yyyyyyyyyy\n"},
		"nothing":                    {nil, nil, 80, ""},
		"a header without any rows":  {titles, nil, 80, "NAME  BYTES  WHY\n"},
		"characters, not their code": {[]string{"µ", "π"}, [][]string{{"ü", "ö"}}, 4, "µ  π\nü  ö\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := laid(test.titles, test.rows, test.width); got != test.want {
				t.Errorf("got\n%swant\n%s", got, test.want)
			}
		})
	}
}

// Names that differ are told apart however they are cut, as far as there is room.
func TestNamesThatDifferAreShownApart(t *testing.T) {
	for name, c := range map[string]struct {
		names []string
		limit int
		want  []string
	}{
		"short":               {[]string{"a", "b", "a"}, 10, []string{"a", "b", "a"}},
		"the ends differ":     {[]string{"model/first/kernel", "model/second/kern2"}, 11, []string{"model…ernel", "model…kern2"}},
		"the middles differ":  {[]string{"model/block_1/conv/kernel", "model/block_2/conv/kernel"}, 12, []string{"…ck_1/conv/…", "…ck_2/conv/…"}},
		"the same name twice": {[]string{"model/block_1/conv/kernel", "model/block_1/conv/kernel"}, 11, []string{"model…ernel", "model…ernel"}},
		"several differ, one after the other": {[]string{"model/block_1/a/conv/kernel", "model/block_1/b/conv/kernel", "model/block_2/a/conv/kernel"}, 12,
			[]string{"…ck_1/a/con…", "…ck_1/b/con…", "…ck_2/a/con…"}},
		"far apart": {[]string{"model/1/" + strings.Repeat("x", 40) + "/a/kernel", "model/1/" + strings.Repeat("x", 40) + "/b/kernel", "model/2/" + strings.Repeat("x", 40) + "/b/kernel"}, 11,
			[]string{"…x/a/kernel", "…x/b/kernel", "…l/2/xxxxx…"}},
		"no room": {[]string{"abcdef", "abcxef"}, 2, []string{"……", "……"}},
	} {
		got := shortened(c.names, c.limit)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		for _, text := range got {
			if utf8.RuneCountInString(text) > c.limit {
				t.Errorf("%s: %q is longer than %d", name, text, c.limit)
			}
		}
	}
}

func TestAShareOfChannelsThatIsAnotherIsShown(t *testing.T) {
	of := []sensitivity.Level{{Level: 0.25, Error: 0.001, Bits: 0.75}, {Level: 0.5, Error: 0.001, Bits: 0.75}, {Level: 0.75, Error: 0.01, Bits: 0.25}}
	if got, want := channels(shownChannels).of(sensitivity.Layer{Channels: of}), []string{"0.001", "0.001 (25%)", "0.01"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTerminalWidth(t *testing.T) {
	answers := func(n int, err error) func() (int, error) { return func() (int, error) { return n, err } }
	for _, test := range []struct {
		set  string
		ask  func() (int, error)
		want int
	}{{"", answers(132, nil), 132}, {"80", answers(132, nil), 80}, {"0", answers(132, nil), 132}, {"wide", answers(132, nil), 132}, {"", answers(0, errors.New("no terminal")), 0}} {
		if got := terminalWidth(test.set, test.ask); got != test.want {
			t.Errorf("COLUMNS=%q: %d, want %d", test.set, got, test.want)
		}
	}
}

func TestSensitivitiesFitTheTerminal(t *testing.T) {
	levels := func(of []float64) (out []sensitivity.Level) {
		for _, l := range of {
			out = append(out, sensitivity.Level{Level: l, Error: 0.000123 * l})
		}
		return out
	}
	found := &reporting.Sensitivity{}
	for i := range 3 {
		found.Layers = append(found.Layers, sensitivity.Layer{Name: strings.Repeat("model/block/", 10) + fmt.Sprint(i), Op: "DEPTHWISE_CONV_2D", Weights: 1234567, Int8: 1.2e-5, Kept: true,
			Prune: levels(shownSparsities), Cluster: levels(shownClusters), Channels: levels(shownChannels)})
	}
	for _, width := range []int{0, 80, 100, 300} {
		var out bytes.Buffer
		o := sensitivityOptions{streams: &ioStreams{Out: &out, Err: io.Discard, width: width}}
		if err := o.showLayers(found.Layers); err != nil {
			t.Fatal(err)
		}
		if width > 0 && widest(out.String()) > width {
			t.Errorf("%d columns: a line of %d\n%s", width, widest(out.String()), &out)
		}
		if tables, one := strings.Count(out.String(), "LAYER"), width == 0 || width == 300; (tables == 1) != one {
			t.Errorf("%d columns: %d tables\n%s", width, tables, &out)
		}
		for _, cell := range []string{"1234567", "1.2e-05", "90% ZEROS", "0.00011", "4 CODES", "0.00049", "75% CHANNELS OUT", "9.2e-05"} {
			if !strings.Contains(out.String(), cell) {
				t.Errorf("%d columns: %s is not shown\n%s", width, cell, &out)
			}
		}
	}
}

func TestTablesOfCommandsFitTheTerminal(t *testing.T) {
	float, leaf := testmaterial.Path(t, "models/kws_ref_float.tflite"), testmaterial.Path(t, "models/kws_ref_model.tflite")
	for _, command := range [][]string{
		{"targets"}, {"check", float, "--target", "ethos-u55"}, {"compare", float, leaf, "--target", "ethos-u55"}, {"inspect", leaf, "--target", "cortex-m4"},
	} {
		for _, width := range []int{60, 80, 120} {
			var out bytes.Buffer
			cmd := newRootCommand(&ioStreams{Out: &out, Err: io.Discard, width: width})
			cmd.SetArgs(command)
			if err := cmd.Execute(); err != nil && !errors.Is(err, errSilent) {
				t.Fatal(err)
			}
			for line := range strings.Lines(out.String()) {
				prose := !strings.Contains(line, "  ") // sentences below a table are the terminal's to break
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width && !prose {
					t.Errorf("%s, %d columns: a line of %d:\n%s", command[0], width, n, line)
				}
			}
		}
	}
}

func TestDecibelsAreSaidInWordsWhereThereAreNone(t *testing.T) {
	for want, d := range map[string]measure.Difference{"equal": {}, "12.3 dB": {Decibel: new(12.34)}, "A is 0": {Decibel: new(-999.)}} {
		if got := decibels(d); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
