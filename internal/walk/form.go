package walk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// form counts the ways in which inputs were written down to be hashed. Another form names every result anew: it is counted up together
// with the algorithm's version, and never for a field that is added.
const form = 1

// assumed are the settings that a manifest has without naming them, by path. They are not part of what is hashed, so that a setting that
// is added later, with a default that does what was done before, renames no result; nor does one that is written out. An object that is
// assumed empty says nothing by being there.
var assumed = map[string]string{
	"prune.structure": `"Weights"`,
	"prune.scope":     `"Layer"`,
	"prune.schedule":  `"Polynomial"`,

	"cluster.scope":   `"Shared"`,
	"cluster.entropy": `1`,

	"quantize.ranges":                 `"Tracked"`,
	"quantize.preserve":               `"Auto"`,
	"quantize.inputOutput":            `"Int8"`,
	"quantize.reconstruct":            `false`,
	"quantize.equalize":               `false`,
	"quantize.encode":                 `"None"`,
	"quantize.names":                  `"Keep"`,
	"quantize.calibration":            `{}`,
	"quantize.calibration.method":     `"MinMax"`,
	"quantize.calibration.samples":    `512`,
	"quantize.calibration.percentile": `"99.99"`,

	"dataset.preprocessing.audio.gainControl": `true`,

	"leaf.reconstruct":            `false`,
	"leaf.equalize":               `false`,
	"leaf.encode":                 `"None"`,
	"leaf.names":                  `"Keep"`,
	"leaf.calibration":            `{}`,
	"leaf.calibration.method":     `"MinMax"`,
	"leaf.calibration.samples":    `512`,
	"leaf.calibration.percentile": `"99.99"`,

	"search.maxTrials":  `24`,
	"search.maxMinutes": `60`,

	"target.runtime": `"LiteRT"`,
	"target.device":  `"litert"`,

	"training.epochs":                   `3`,
	"training.batchSize":                `64`,
	"training.optimizer":                `"Adam"`,
	"training.momentum":                 `"0.9"`,
	"training.weightDecay":              `0`,
	"training.schedule":                 `"Cosine"`,
	"training.stepEpochs":               `1`,
	"training.stepFactor":               `"0.5"`,
	"training.warmupEpochs":             `0`,
	"training.clipNorm":                 `0`,
	"training.labelSmoothing":           `0`,
	"training.earlyStopEpochs":          `0`,
	"training.seed":                     `1`,
	"training.distillation.weight":      `"0.5"`,
	"training.distillation.temperature": `2`,
}

// written returns a section of a manifest as it is hashed: its fields by name, numbers in their one text, and nothing that is assumed but at
// the paths where something else is. Nil stands for a section that says nothing.
func written(path string, section any, otherwise ...string) (map[string]any, error) {
	data, err := json.Marshal(canonical(section))
	if err != nil {
		return nil, fmt.Errorf("write down %s: %w", path, err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var fields map[string]any
	if err := decoder.Decode(&fields); err != nil {
		return nil, fmt.Errorf("write down %s: %w", path, err)
	}
	if err := leaveOut(path, fields, otherwise); err != nil || len(fields) == 0 {
		return nil, err
	}
	return fields, nil
}

// leaveOut removes what is assumed, but at the paths where something else is.
func leaveOut(path string, fields map[string]any, otherwise []string) error {
	for name, value := range fields {
		at := path + "." + name
		if below, ok := value.(map[string]any); ok {
			if err := leaveOut(at, below, otherwise); err != nil {
				return err
			}
		}
		text, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("write down %s: %w", at, err)
		}
		if assumed[at] == string(text) && !slices.Contains(otherwise, at) {
			delete(fields, name)
		}
	}
	return nil
}
