package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/optimizer/target"
)

// searchOptions are the flags of `espalier search`.
type searchOptions struct {
	model, dataset, preparation, leaf, target, minimize, minutes string

	constraints []string
	states      stateFlags
	trials      int
	epochs      int
	outFlags
	streams *ioStreams
}

func newSearchCommand(streams *ioStreams) *cobra.Command {
	o := &searchOptions{streams: streams}
	cmd := &cobra.Command{
		Use:   "search MODEL --dataset DATA -o FOLDER",
		Short: "Find the smallest leaf of a model that meets every constraint",
		Long: `Find the smallest int8 leaf of a model that meets every constraint, without a manifest: what ` + "`espalier run`" + ` does with one that
has spec.search. The folder gets the same files: result.json is the manifest with its status, found.yaml the stages that make the leaf again.`,
		Example: `  espalier search model.tflite --dataset data.npz -o out/
  espalier search model.tflite --dataset data/ --constraint '{metric: Agreement, min: 0.97}' --constraint '{metric: FileBytes, max: 100000}' -o out/`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.model = args[0]
			o.streams.words = o.inFlags
			p, err := o.pipeline(cmd.Flags().Changed("epochs"))
			if err != nil {
				return fault.As(fault.Spec, err)
			}
			return o.walk(cmd.Context(), o.streams, p, ".")
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.dataset, "dataset", "", "dataset, as the manifest's dataset.uri")
	flags.StringVar(&o.preparation, "dataset-spec", "", `how it is prepared, as in the manifest: '{preprocessing: {scale: "1/255"}}', or @FILE`)
	flags.StringArrayVar(&o.constraints, "constraint", []string{"{metric: AccuracyDrop, max: 0.01}"}, "what the leaf has to meet, as in the manifest; may be repeated, and without labels begin with '{metric: Agreement, min: 0.97}'")
	flags.StringVar(&o.minimize, "minimize", string(v1alpha1.CompressedBytes), "metric to have least of: CompressedBytes, FileBytes, FlashBytes, ArenaBytes, Multiplications or LatencyMicros; or the word none: then the first leaf that meets every constraint is taken")
	flags.StringVar(&o.leaf, "leaf", "", "how leaves are quantized and stored, as in the manifest: '{encode: Auto}', or @FILE")
	flags.StringVar(&o.target, "target", "", "device that the leaf is for, one of espalier targets")
	flags.IntVar(&o.trials, "trials", v1alpha1.DefaultTrials, fmt.Sprintf("leaves that are tried at most, up to %d", v1alpha1.MostTrials))
	flags.StringVar(&o.minutes, "minutes", fmt.Sprint(v1alpha1.DefaultSearchMinutes), "minutes after which no further trial begins")
	flags.IntVar(&o.epochs, "epochs", v1alpha1.DefaultEpochs, "epochs that trials are trained; 0: none is")
	o.states.add(cmd)
	o.add(cmd)
	_ = cmd.MarkFlagRequired("dataset")
	return cmd
}

// pipeline is the manifest that the flags stand for.
func (o *searchOptions) pipeline(epochs bool) (*v1alpha1.OptimizationPipeline, error) {
	dataset, err := section("--dataset-spec", o.preparation)
	if err != nil {
		return nil, err
	}
	if _, there := dataset["uri"]; there {
		return nil, errors.New("--dataset-spec: uri: leave it out, --dataset names the dataset")
	}
	dataset["uri"] = o.dataset
	var constraints []any
	for _, text := range o.constraints {
		c, err := section("--constraint", text)
		if err != nil {
			return nil, err
		}
		constraints = append(constraints, c)
	}
	search := map[string]any{"maxTrials": o.trials, "maxMinutes": o.minutes}
	if o.minimize != "none" {
		search["minimize"] = o.minimize
	}
	model := map[string]any{"uri": o.model}
	states, err := o.states.pairs()
	if err != nil {
		return nil, err
	}
	if len(states) > 0 {
		model["states"] = states
	}
	spec := map[string]any{"model": model, "dataset": dataset, "constraints": constraints, "search": search}
	if o.leaf != "" {
		if spec["leaf"], err = section("--leaf", o.leaf); err != nil {
			return nil, err
		}
	}
	if o.target != "" {
		t, err := target.Lookup(o.target)
		if err != nil {
			return nil, fmt.Errorf("--target: %w", err)
		}
		spec["target"] = map[string]any{"runtime": t.Runtime, "device": o.target}
	}
	if epochs {
		spec["training"] = map[string]any{"epochs": o.epochs}
	}
	text, err := json.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": v1alpha1.Kind, "metadata": map[string]any{"name": nameOf(o.model)}, "spec": spec,
	})
	if err != nil {
		return nil, err
	}
	return v1alpha1.Decode(text)
}

// fieldsOfFlags are the fields of a manifest that texts name, and the flags that have them here. What a path may have before it is none.
var fieldsOfFlags = []struct {
	field *regexp.Regexp
	flag  string
}{
	{fieldOf(`search\.maxTrials|maxTrials`), "${1}--trials"},
	{fieldOf(`search\.maxMinutes|maxMinutes`), "${1}--minutes"},
	{fieldOf(`search\.minimize`), "${1}--minimize"},
	{fieldOf(`training\.epochs`), "${1}--epochs"},
	{fieldOf(`model\.states`), "${1}--state"},
	{fieldOf(`target(?:\.runtime|\.device)?:`), "${1}--target:"},
	{regexp.MustCompile(`; spec\.(?:model|dataset)\.uri of a manifest is relative to the manifest`), ""},
	{regexp.MustCompile(`spec\.dataset\.uri\b`), "--dataset"},
	{regexp.MustCompile(`spec\.dataset(?:\.([\w.\[\]]+))?: `), "--dataset-spec: $1: "},
	{regexp.MustCompile(`spec\.leaf(?:\.([\w.\[\]]+))?: `), "--leaf: $1: "},
	{regexp.MustCompile(`(^|[^\w./-])leaf: (\{[^{}]*\})`), "$1--leaf '$2'"},
	{regexp.MustCompile(`(^|[^\w./-])leaf\.(\w+): (\w+)`), "$1--leaf '{$2: $3}'"},
	{fieldOf(`dataset\.(format|samples|labels|target|classes|stored|preprocessing|augmentation|split)`), "$1--dataset-spec $2"},
	{fieldOf(`(preprocessing\.[a-z]\w*)`), "$1--dataset-spec $2"},
	{fieldOf(`split\.(validation|test)`), "$1--dataset-spec split.$2"},
	{regexp.MustCompile(`(^|: )spec: `), "$1"},
	{regexp.MustCompile(`that measurements give: name it there, or`), "that measurements give, for which espalier run takes a manifest:"},
}

// fieldOf finds a field, with spec before it or without.
func fieldOf(field string) *regexp.Regexp {
	if !strings.HasSuffix(field, ":") {
		field = `(?:` + field + `)\b`
	}
	return regexp.MustCompile(`(^|[^\w./-])(?:spec\.)?` + field)
}

var constraintField = regexp.MustCompile(`spec\.constraints\[(\d+)\](?:\.(\w+))?`)

// inFlags is a text on a manifest in the words of the command line.
func (o *searchOptions) inFlags(text string) string {
	text = constraintField.ReplaceAllStringFunc(text, func(found string) string {
		m := constraintField.FindStringSubmatch(found)
		flag := "--constraint"
		if i, err := strconv.Atoi(m[1]); err == nil && i < len(o.constraints) && len(o.constraints) > 1 {
			flag = fmt.Sprintf("--constraint %q", shorten(o.constraints[i], 60))
		}
		if m[2] != "" {
			flag += ": " + m[2]
		}
		return flag
	})
	for _, f := range fieldsOfFlags {
		text = f.field.ReplaceAllString(text, f.flag)
	}
	return strings.NewReplacer(": : ", ": ", "--dataset-spec: --dataset-spec ", "--dataset-spec: ", "--dataset-spec --dataset-spec ", "--dataset-spec ", " and --dataset-spec ", " and ").Replace(text) // of a whole section, of one in it
}

// sections are examples of what flags have.
var sections = map[string]string{"--dataset-spec": `{preprocessing: {scale: "1/255"}}`, "--constraint": "{metric: AccuracyDrop, max: 0.01}", "--leaf": "{encode: Auto}"}

// section is a section of a manifest that a flag has, as YAML or in a file.
func section(flag, text string) (map[string]any, error) {
	content, err := textOrFile(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	if err := v1alpha1.CheckScalars(content); err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	var parsed any
	if err := yaml.UnmarshalStrict(content, &parsed); err != nil {
		return nil, fmt.Errorf("%s %q is no section of a manifest, such as %s: %w", flag, text, sections[flag], err)
	}
	switch out := parsed.(type) {
	case nil:
		return map[string]any{}, nil
	case map[string]any:
		return out, nil
	}
	return nil, fmt.Errorf("%s %q is no section of a manifest, such as %s", flag, text, sections[flag])
}

// nameOf is a pipeline's name for a model's file.
func nameOf(path string) string {
	base := strings.ToLower(strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)))
	name := strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, base), "-")
	if name == "" {
		return "model"
	}
	return strings.TrimRight(name[:min(len(name), 50)], "-")
}
