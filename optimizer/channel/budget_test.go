package channel

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
	"github.com/google/go-cmp/cmp"
)

// within is what is left of a network at a share of its multiplications: those that really are, as a share, and the units by group.
func within(t *testing.T, m *tflite.Model, o Options, importance func(s *Structure) map[int]float64) (share float64, kept string, err error) {
	t.Helper()
	s, err := Couple(m)
	if err != nil {
		t.Fatal(err)
	}
	targets, _, err := s.NewPlan(o)
	if err != nil {
		t.Fatal(err)
	}
	matters := importance(s)
	removed, err := s.ChooseWithin(targets, o.Multiplications, matters)
	if err != nil {
		return 0, "", err
	}
	for range 5 {
		if again, err := s.ChooseWithin(targets, o.Multiplications, matters); err != nil || !maps.Equal(removed, again) {
			t.Error("the same channels are not chosen again")
		}
	}
	left, err := s.Apply(m, s.Of(removed))
	if err != nil {
		t.Fatal(err)
	}
	g, err := ir.Parse(left, 0)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, group := range s.Groups {
		n := 0
		for _, unit := range group.Units {
			if !removed[unit] {
				n++
			}
		}
		list = append(list, fmt.Sprintf("%s %d of %d", short(group.Names), n, len(group.Units)))
	}
	return float64(g.Multiplications()) / float64(s.graph.Multiplications()), strings.Join(list, ", "), nil
}

func random(s *Structure) map[int]float64 {
	importance, random := map[int]float64{}, rand.New(rand.NewPCG(3, 3))
	for _, g := range s.Groups {
		for _, unit := range g.Units {
			importance[unit] = random.Float64()
		}
	}
	return importance
}

// What is left of whatever network is within the share of the multiplications that is asked for, and no further below it than a step is.
func TestMultiplicationsOfAnyNetwork(t *testing.T) {
	for name, network := range networks {
		if network.groups == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			for _, share := range []float64{0.999, 0.9, 0.7} {
				left, kept, err := within(t, build(name), Options{Multiplications: share}, random)
				if err != nil && strings.Contains(err.Error(), "ask for at least") {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if left > share || left < share-0.5 {
					t.Errorf("%v of the multiplications are left (%s), want %v at most", left, kept, share)
				}
			}
		})
	}
}

// even has all units of a group matter as much.
func even(of ...float64) func(s *Structure) map[int]float64 {
	return func(s *Structure) map[int]float64 {
		importance := map[int]float64{}
		for i, g := range s.Groups {
			for _, unit := range g.Units {
				importance[unit] = of[i]
			}
		}
		return importance
	}
}

func TestChooseWithin(t *testing.T) {
	half := 0.5
	three := func(first, second int32) *tflite.Model { // of 3 channels, on 6×6, and dense at the end
		b := net{tflitetest.New()}
		flat := b.Flatten("flat", b.conv("b", b.conv("a", b.Input("x", 1, 6, 6, 3), first), second))
		b.Output(b.Dense("last", flat, gauss(4*b.Shape(flat)[1]), gauss(4), 4, tflitetest.None))
		return b.Model()
	}
	for name, test := range map[string]struct {
		model      *tflite.Model
		options    Options
		importance func(s *Structure) map[int]float64
		kept       string
		fails      string
	}{
		"what costs less goes":                          {three(12, 12), Options{Multiplications: 0.6}, even(1, 9), "a 7 of 12, b 12 of 12", ""},
		"the other one does too":                        {three(12, 12), Options{Multiplications: 0.6}, even(9, 1), "a 12 of 12, b 6 of 12", ""},
		"by multiplications saved":                      {three(12, 12), Options{Multiplications: 0.6}, even(1, 1), "a 7 of 12, b 12 of 12", ""},
		"whole lanes of wide ones":                      {three(32, 32), Options{Multiplications: 0.51}, even(1, 1), "a 16 of 32, b 32 of 32", ""},
		"lanes split where whole ones are far too much": {three(16, 32), Options{Multiplications: 0.6}, even(1, 1), "a 9 of 16, b 32 of 32", ""},
		"lanes beyond a multiple":                       {three(20, 12), Options{Multiplications: 0.85}, even(1, 9), "a 16 of 20, b 12 of 12", ""},
		"fewer where lanes are few":                     {three(32, 32), Options{Multiplications: 0.04}, even(1, 1), "a 3 of 32, b 10 of 32", ""},
		"none that a rule skips":                        {three(12, 12), Options{Multiplications: 0.6, Rules: []Rule{{Layers: "a*", Skip: true}}}, even(1, 9), "a 12 of 12, b 6 of 12", ""},
		"first those that a rule gives a share": {three(12, 12), Options{Multiplications: 0.4, Rules: []Rule{{Layers: "b*", Share: &half}}},
			even(1, 0), "a 7 of 12, b 6 of 12", ""},
		"a rule's share is enough": {three(12, 12), Options{Multiplications: 0.6, Rules: []Rule{{Layers: "b*", Share: &half}}}, even(0, 9), "a 12 of 12, b 6 of 12", ""},
		"steps that are not needed": {three(12, 48), Options{Multiplications: 0.5}, func(s *Structure) map[int]float64 {
			importance := even(1000, 1)(s)
			importance[s.Groups[0].Units[0]], importance[s.Groups[0].Units[1]] = 0.1, 0.1 // which b's lanes, as whole ones, make unnecessary
			return importance
		}, "a 11 of 12, b 24 of 48", ""},
		"what cannot be reached":       {three(12, 12), Options{Multiplications: 0.001}, even(1, 1), "", "multiplications 0.001: with every channel out that can go, more than 0.001 of the network's are left; ask for at least 0.03"},
		"what rules leave nothing of":  {three(12, 12), Options{Multiplications: 0.5, Rules: []Rule{{Layers: "*", Skip: true}}}, even(1, 1), "", "multiplications 0.5: the layers that may lose channels have less than a hundredth"},
		"what rules leave too much of": {three(12, 12), Options{Multiplications: 0.1, Rules: []Rule{{Layers: "b*", Skip: true}}}, even(1, 1), "", "ask for at least 0.11"},
	} {
		t.Run(name, func(t *testing.T) {
			_, kept, err := within(t, test.model, test.options, test.importance)
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Errorf("got error %v, want %q", err, test.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(test.kept, kept); d != "" {
				t.Error(d)
			}
		})
	}
}

// The least is what a choice may ask for, and nothing below is.
func TestTheLeastMultiplicationsCanBeHad(t *testing.T) {
	for _, name := range []string{"a residual", "a slice"} {
		m := build(name)
		s, err := Couple(m)
		if err != nil {
			t.Fatal(err)
		}
		least := s.Least()
		if _, _, err := within(t, m, Options{Multiplications: least * 1.001}, random); err != nil || least >= 1 {
			t.Errorf("%s: %v: %v", name, least, err)
		}
		if _, _, err := within(t, m, Options{Multiplications: least * 0.999}, random); err == nil {
			t.Errorf("%s: fewer than %v can be had", name, least)
		}
	}
}

// Of a part of the channels something is left, however few multiplications are asked for.
func TestChooseWithinLeavesSomethingOfEveryPart(t *testing.T) {
	m := build("a slice")
	s, err := Couple(m)
	if err != nil {
		t.Fatal(err)
	}
	least := 1.0
	for share := 0.95; share > 0; share -= 0.05 {
		left, _, err := within(t, m, Options{Multiplications: share}, func(s *Structure) map[int]float64 {
			importance := map[int]float64{}
			for _, g := range s.Groups {
				for i, unit := range slices.Backward(g.Units) {
					importance[unit] = float64(i)
				}
			}
			return importance
		})
		if err != nil {
			break
		}
		least = left
	}
	if least > 0.5 {
		t.Errorf("no fewer than %v of the multiplications of %d groups are reached", least, len(s.Groups))
	}
}

func TestMultiplicationsThatMakeNoSense(t *testing.T) {
	s, err := Couple(build("a residual"))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{Multiplications: -0.1}, {Multiplications: 1}, {Multiplications: 0.5, Share: 0.5}} {
		if _, _, err := s.NewPlan(o); err == nil || !strings.Contains(err.Error(), "outside (0, 1), or beside channels") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
