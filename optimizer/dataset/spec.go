package dataset

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Spec declares how a dataset is stored, what a model's input looks like and how the samples are divided. The zero value reads
// every format by its own conventions, unchanged.
type Spec struct {
	// Format names the format where the path does not tell. Default: recognised.
	Format Format `json:"format,omitempty"`
	// Samples names the samples of every input of the network: an array (`x` finds x_train, x_validation, x_test, or x alone) or a
	// feature of a TFRecord. Default: for one input x, in TFRecords `image`; else the array or feature with the input's name, after x_
	// or alone; else the only one of its shape.
	Samples Samples `json:"samples,omitempty"`
	// Labels names the labels the same way. Default: y, and for several outputs y_ and a name; in TFRecords `label`.
	Labels string `json:"labels,omitempty"`
	// Target says what labels are. Default: recognised (see Meaning).
	Target Meaning `json:"target,omitempty"`
	// Classes is the number of classes. Default: one more than the largest label, or the number of class folders.
	Classes int `json:"classes,omitempty"`
	// Stored says how samples are stored, where the format does not.
	Stored Stored `json:"stored,omitzero"`
	// Preprocessing turns stored samples into the model's input.
	Preprocessing Preprocessing `json:"preprocessing,omitzero"`
	// Augmentation varies the training samples from epoch to epoch.
	Augmentation Augmentation `json:"augmentation,omitzero"`
	// Split divides what is not divided.
	Split Split `json:"split,omitzero"`
	// Network says what the arrays are for; nil: one input of any shape.
	Network *Network `json:"-"`
	// Made is what a model's file says of how its inputs are made (PreprocessingMetadata), for where Stored, Preprocessing and Augmentation are empty.
	Made []byte `json:"-"`
}

// Format is a way to store a dataset.
type Format string

// The formats.
const (
	NPZ      Format = "NPZ"      // one .npz file
	Arrays   Format = "Arrays"   // a folder of x_train.npy|.bin[.gz], y_train.npy|.bin|.csv …, or one such file of samples, its labels in a .csv of the same name
	IDX      Format = "IDX"      // a folder of train-images-idx3-ubyte[.gz], train-labels-idx1-ubyte[.gz], t10k-…
	TFRecord Format = "TFRecord" // one file or a folder of them, of tf.train.Example, [.gz]
	Table    Format = "Table"    // a .csv or .tsv file of a column a number and one of the label, or a folder of train.csv, test.csv …
	Images   Format = "Images"   // a folder [train|validation|test/]<class>/<image>.png|.jpg|.jpeg|.webp|.bmp, or of such files and a .csv that lists them
	Audio    Format = "Audio"    // a folder [train|validation|test/]<class>/<recording>.wav, or of such files and a .csv that lists them
	// Parquet is one .parquet file or a folder of them: columns of numbers, of lists of numbers, of images or recordings as bytes or as {bytes, path}.
	Parquet Format = "Parquet"
	// WebDataset is one .tar[.gz] file or a folder of them, of key.jpg, key.cls …: a few files a sample, which follow each other.
	WebDataset Format = "WebDataset"
)

var formats = []Format{NPZ, Arrays, IDX, TFRecord, Table, Images, Audio, Parquet, WebDataset}

// Meaning is what labels are.
type Meaning string

// The meanings. Recognised: no labels: None; one integer (or truth value) a sample, or rows with a single 1 and else 0: Classes;
// anything else: Values.
const (
	None    Meaning = "None"    // ignored: the loss is distillation
	Classes Meaning = "Classes" // one class a sample
	Values  Meaning = "Values"  // regression: one or more numbers a sample
)

var targets = []Meaning{None, Classes, Values}

// Layout is an order of a sample's dimensions.
type Layout string

// The layouts.
const (
	ChannelsLast  Layout = "ChannelsLast"  // [height, width, channels], the default
	ChannelsFirst Layout = "ChannelsFirst" // [channels, height, width], as PyTorch stores images
)

// Type is an element type of raw data.
type Type string

// The types; multi-byte ones are little-endian.
const (
	Uint8   Type = "Uint8"
	Int8    Type = "Int8"
	Uint16  Type = "Uint16"
	Int16   Type = "Int16"
	Int32   Type = "Int32"
	Int64   Type = "Int64"
	Float16 Type = "Float16"
	Float32 Type = "Float32"
	Float64 Type = "Float64"
)

// Stored says how samples are stored. Integers q with a Scale or ZeroPoint mean (q − ZeroPoint)·Scale.
type Stored struct {
	Type      Type   `json:"type,omitempty"`      // of raw .bin files and raw bytes features
	Shape     []int  `json:"shape,omitempty"`     // of one sample, for raw data and TFRecord features
	Layout    Layout `json:"layout,omitempty"`    // default ChannelsLast
	Scale     Number `json:"scale,omitempty"`     // default 1
	ZeroPoint int    `json:"zeroPoint,omitempty"` // default 0
}

// Preprocessing turns stored samples into the model's input; the package comment has the order of the steps.
type Preprocessing struct {
	Audio    *AudioSteps `json:"audio,omitempty"` // before all else
	Resize   *Resize     `json:"resize,omitempty"`
	Crop     *Size       `json:"crop,omitempty"`     // the centre
	Channels Channels    `json:"channels,omitempty"` // default: as stored
	Scale    Number      `json:"scale,omitempty"`    // default 1
	Offset   Number      `json:"offset,omitempty"`   // default 0
	Mean     []Number    `json:"mean,omitempty"`     // one, or one a channel
	Std      []Number    `json:"std,omitempty"`      // one, or one a channel
	Reshape  []int       `json:"reshape,omitempty"`  // of one sample
	// Inputs names the inputs that these steps, Stored and Augmentation are for, where the network has several.
	Inputs []string `json:"inputs,omitempty"`
}

// Size is a height and width in pixels.
type Size struct {
	Height int `json:"height"`
	Width  int `json:"width"`
}

// Resize is a new height and width. Pixel centres are at halves and nothing is smoothed before shrinking, as in tf.image.resize.
type Resize struct {
	Height int    `json:"height"`
	Width  int    `json:"width"`
	Method Method `json:"method,omitempty"` // default Bilinear
}

// Method is a way to interpolate.
type Method string

// The methods.
const (
	Bilinear Method = "Bilinear"
	Nearest  Method = "Nearest"
)

// Channels is an order of colours. Images are stored as RGB, or as one channel if they are gray; arrays of three channels are
// taken to be RGB.
type Channels string

// The orders. One stored channel becomes three by repetition; three become one as luma, 0.299 R + 0.587 G + 0.114 B.
const (
	RGB  Channels = "RGB"
	BGR  Channels = "BGR"
	Gray Channels = "Gray"
)

// Augmentation varies training samples of shape [height, width, …] at random, anew each epoch. New pixels are stored zeros.
type Augmentation struct {
	HorizontalFlip bool   `json:"horizontalFlip,omitempty"` // every second sample is mirrored
	Shift          Size   `json:"shift,omitzero"`           // by at most this much each way; over a spectrogram's time: the height
	RandomCrop     bool   `json:"randomCrop,omitempty"`     // Preprocessing.Crop anywhere, not in the centre
	Padding        int    `json:"padding,omitempty"`        // RandomCrop may reach this far outside
	Noise          Number `json:"noise,omitempty"`          // standard deviation of Gaussian noise, in units of the model's input
}

// Split divides samples that the dataset does not divide itself. Parts are drawn from the training samples, or from the only
// ones there are, so that the same Seed draws the same, and class by class where there are labels.
type Split struct {
	Validation Number `json:"validation,omitempty"` // fraction, 0 ≤ Validation < 1
	Test       Number `json:"test,omitempty"`       // fraction
	Seed       int64  `json:"seed,omitempty"`
}

// Number is a decimal number or a quotient of two, such as "0.5", "1e-3" or "1/255"; empty where there is none. JSON may have it
// quoted or not.
type Number string

// Float returns the value, or otherwise where there is none.
func (n Number) Float(otherwise float64) (float64, error) {
	if n == "" {
		return otherwise, nil
	}
	value := 1.0
	for i, part := range strings.SplitN(string(n), "/", 2) {
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || i == 1 && v == 0 {
			return 0, fmt.Errorf("%q is no number; write a decimal such as 0.5 or a quotient such as 1/255", string(n))
		}
		if i == 0 {
			value = v
		} else {
			value /= v
		}
	}
	return value, nil
}

// UnmarshalJSON accepts a string or a number.
func (n *Number) UnmarshalJSON(data []byte) error {
	if !bytes.HasPrefix(data, []byte(`"`)) {
		var number json.Number
		if err := json.Unmarshal(data, &number); err != nil {
			return err
		}
		*n = Number(number)
		return nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	*n = Number(text)
	return nil
}
