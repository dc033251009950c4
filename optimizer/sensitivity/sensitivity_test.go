package sensitivity

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/weight"
)

func kernelOf(name string, op schema.BuiltinOperator) weight.Kernel {
	return weight.Kernel{Name: name, Op: op, Shape: []int{4, 50}, Axis: 0}
}

func tensorOf(t *testing.T, k weight.Kernel, seed uint64) *weight.Tensor {
	t.Helper()
	rng, values := rand.New(rand.NewPCG(seed, 1)), make([]float32, 200)
	for i := range values {
		values[i] = float32(rng.NormFloat64())
	}
	out, err := weight.New(k.Name, k.Shape, k.Axis, values)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestACostIsTheSlopesTimesTheSquaredChange(t *testing.T) {
	k := kernelOf("dense", schema.BuiltinOperatorFULLY_CONNECTED)
	w := tensorOf(t, k, 1)
	slopes := make([]float32, 200)
	for i := range slopes {
		slopes[i] = float32(i%3 + 1)
	}
	l, err := Of(k, w, w.Channels(), slopes)
	if err != nil {
		t.Fatal(err)
	}
	// Half of the weights are zero: those of least magnitude.
	values, want := w.Values(), 0.0
	for i, v := range values {
		smaller := 0
		for _, u := range values {
			if math.Abs(float64(u)) < math.Abs(float64(v)) {
				smaller++
			}
		}
		if smaller < 100 {
			want += float64(slopes[i]) * float64(v) * float64(v)
		}
	}
	half, _ := at(l.Prune, 0.5)
	if math.Abs(half.Error-want) > 1e-4*want || half.Bits != 0.5 {
		t.Errorf("half of the zeros cost %+v, want %v", half, want)
	}
	for i := 1; i < len(l.Prune); i++ {
		if l.Prune[i].Error < l.Prune[i-1].Error {
			t.Errorf("more zeros cost less: %+v", l.Prune)
		}
	}
	few, many := l.Cluster[len(l.Cluster)-1], l.Cluster[0]
	if few.Error <= many.Error || few.Bits >= many.Bits || l.Int8 <= 0 || l.Int8 >= many.Error {
		t.Errorf("4 codes %+v, 64 codes %+v, int8 %v", few, many, l.Int8)
	}
}

func TestClusteredLayersHaveNoMoreLevels(t *testing.T) {
	k := kernelOf("dense", schema.BuiltinOperatorFULLY_CONNECTED)
	w := tensorOf(t, k, 1)
	book, err := weight.NewCodebook([]float32{-127, -40, 40, 127}, weight.MaxCode, false)
	if err == nil {
		err = w.SetCodebooks([]float32{0.02}, []*weight.Codebook{book})
	}
	if err != nil {
		t.Fatal(err)
	}
	if l, err := Of(k, w, w.Channels(), make([]float32, 200)); err != nil || l.Prune != nil || l.Cluster != nil || l.Int8 != 0 {
		t.Errorf("%+v, %v", l, err)
	}
}

func layer(name string, weights int, factor float64) Layer {
	l := Layer{Name: name, Weights: weights}
	for _, s := range Sparsities {
		l.Prune = append(l.Prune, Level{s, factor * s * s * s, 1 - s})
	}
	return l
}

func TestRulesMoveZerosToWhereTheyCostLeast(t *testing.T) {
	layers := []Layer{layer("first", 100, 10), layer("middle", 1000, 1), layer("last", 1000, 0.1), {Name: "depthwise", Weights: 50, Kept: true, Prune: []Level{{0.5, 0, 0.5}}}}
	plan, err := Allocate(layers, "prune", 0.5)
	if err != nil {
		t.Fatal(err)
	}
	zeros, error := 0.0, 0.0
	level := map[string]float64{}
	for _, l := range layers[:3] {
		level[l.Name] = plan.Base
	}
	for _, r := range plan.Rules {
		level[r.Layer] = r.Level
	}
	for _, l := range layers[:3] {
		v, _ := at(l.Prune, level[l.Name])
		zeros, error = zeros+v.Level*float64(l.Weights), error+v.Error
	}
	if zeros < 0.5*2100-1e-6 || math.Abs(error-plan.Error) > 1e-12 || plan.Error >= plan.Even || !(level["first"] < level["middle"] && level["middle"] < level["last"]) {
		t.Errorf("%v zeros, error %v: %+v", zeros, error, plan)
	}
	// No other levels with as many zeros cost less.
	for _, a := range layers[0].Prune {
		for _, b := range layers[1].Prune {
			for _, c := range layers[2].Prune {
				if 100*a.Level+1000*b.Level+1000*c.Level >= 1050-1e-6 && a.Error+b.Error+c.Error < 0.9*plan.Error {
					t.Fatalf("%v, %v, %v cost %v, less than %v", a.Level, b.Level, c.Level, a.Error+b.Error+c.Error, plan.Error)
				}
			}
		}
	}
}

func TestDeepNetworksHaveNoMoreRulesThanAStageMay(t *testing.T) {
	var layers []Layer
	for i := range 3 * MostRules {
		layers = append(layers, layer(fmt.Sprint(i), 100+i, math.Pow(10, float64(i%9))))
	}
	plan, err := Allocate(layers, "prune", 0.5)
	if err != nil || len(plan.Rules) > MostRules || len(plan.Rules) < 10 || plan.Base != 0.5 || plan.Error >= plan.Even || plan.Bits > plan.EvenBits+1e-9 {
		t.Errorf("%d rules, base %v, error %v of %v, %v bits of %v: %v", len(plan.Rules), plan.Base, plan.Error, plan.Even, plan.Bits, plan.EvenBits, err)
	}
}

func TestLevelsThatAreNotTriedAreRefused(t *testing.T) {
	_, err := Allocate([]Layer{layer("a", 1, 1)}, "prune", 0.55)
	if diff := cmp.Diff("prune by 0.55: rules are written for one of [0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 0.95]", fmt.Sprint(err)); diff != "" {
		t.Error(diff)
	}
	if _, err := Allocate([]Layer{{Name: "a", Kept: true, Prune: []Level{{0.5, 0, 0.5}}}}, "prune", 0.5); err == nil {
		t.Error("there is nothing to prune")
	}
	plan, err := Allocate([]Layer{layer("a", 7, 1)}, "prune", 0.5)
	if err != nil || plan.Rules != nil || plan.Base != 0.5 && plan.Error > plan.Even {
		t.Errorf("one layer: %+v, %v", plan, err)
	}
}

func TestRulesAreNeverWorseThanOneLevelForAll(t *testing.T) {
	// No price asks for the levels in the middle, which lie above the line between the others. The small layer takes the best one then, and
	// what is left is too little for the large one's.
	layers := []Layer{
		{Name: "large", Weights: 10, Cluster: []Level{{4, 10, 1}, {16, 6, 3}, {64, 0, 5}}},
		{Name: "small", Weights: 1, Cluster: []Level{{4, 2, 1}, {16, 1.2, 3}, {64, 0, 5}}},
	}
	plan, err := Allocate(layers, "cluster", 16)
	if err != nil || plan.Error > plan.Even || plan.Bits > plan.EvenBits+1e-9 {
		t.Errorf("%+v, %v", plan, err)
	}
}
