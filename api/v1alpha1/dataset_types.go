package v1alpha1

// DatasetSource is where the dataset is, how it is stored, and how samples become the model's input. In short: name the address of an
// .npz with x_train, y_train, x_test and y_test, and say how the training loop scaled the samples.
type DatasetSource struct {
	ModelSource `json:",inline"`
	// format of the content: NPZ, one .npz file; Arrays, a folder of x_train.npy, y_train.csv …; IDX, a folder of
	// train-images-idx3-ubyte.gz …; TFRecord, one file or a folder of tf.train.Example; Table, a .csv
	// or .tsv file of a row a sample and a column a number, or a folder of train.csv, test.csv …; Images, a folder of
	// [train|validation|test/]<class>/<image>.png|.jpg|.webp|.bmp; Audio, the same of .wav files. A .csv in a folder of files may list them
	// with their labels instead. Parquet, a file or a folder of them, of numbers, lists of numbers, images or recordings as Hugging Face
	// writes them; WebDataset, a .tar or a folder of them, of key.jpg, key.cls …. Default: recognised.
	// +optional
	// +kubebuilder:validation:Enum=NPZ;Arrays;IDX;TFRecord;Table;Images;Audio;Parquet;WebDataset
	Format string `json:"format,omitempty"`
	// samples names the samples of each of the model's inputs: the prefix of arrays (x finds x_train, x_validation, x_test) or the
	// feature of a TFRecord, column of a Parquet or extension of a WebDataset. {audio: x_audio, context: x_context} is of a model with inputs audio and context; of one input, its name
	// does not matter: {x: image}. Default: of one input x, in TFRecords image, else the only feature that can be one; of several the
	// arrays that have the inputs' names (x_train_audio, x_audio_train, audio_train), else the inputs' shapes.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	Samples map[string]ArrayName `json:"samples,omitempty"`
	// labels names the labels the same way. Default y; in TFRecords label; in a table or Parquet the column headed label, class, target or
	// y; in a WebDataset cls, or of json the field called so.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Labels string `json:"labels,omitempty"`
	// target says what labels are: Classes, Values (regression), or None (ignored: the loss is distillation). Default: recognised.
	// +optional
	// +kubebuilder:validation:Enum=None;Classes;Values
	Target string `json:"target,omitempty"`
	// classes is the number of classes. Default: one more than the largest label, or the number of class folders.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Classes int32 `json:"classes,omitempty"`
	// stored says how samples are stored where the format does not.
	// +optional
	Stored *Stored `json:"stored,omitempty"`
	// preprocessing turns stored samples into the model's input.
	// +optional
	Preprocessing *Preprocessing `json:"preprocessing,omitempty"`
	// augmentation varies the training samples from epoch to epoch.
	// +optional
	Augmentation *Augmentation `json:"augmentation,omitempty"`
	// split divides samples that the dataset does not divide itself.
	// +optional
	Split *Split `json:"split,omitempty"`
}

// ArrayName is the name of an array or feature.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
type ArrayName string

// Stored says how samples are stored; integers q mean (q − zeroPoint)·scale.
type Stored struct {
	// type of raw data; more than one byte is little-endian.
	// +optional
	// +kubebuilder:validation:Enum=Uint8;Int8;Uint16;Int16;Int32;Int64;Float16;Float32;Float64
	Type string `json:"type,omitempty"`
	// shape of one sample, for raw data and TFRecord features.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=16777216
	Shape []int32 `json:"shape,omitempty"`
	// layout of a sample: ChannelsLast is [height, width, channels], ChannelsFirst is [channels, height, width] as PyTorch stores
	// images. Default ChannelsLast.
	// +optional
	// +kubebuilder:validation:Enum=ChannelsLast;ChannelsFirst
	Layout string `json:"layout,omitempty"`
	// scale of stored integers. Default 1.
	// +optional
	Scale *Quotient `json:"scale,omitempty"`
	// zeroPoint of stored integers. Default 0.
	// +optional
	ZeroPoint int32 `json:"zeroPoint,omitempty"`
}

// Preprocessing steps, in this order: resize, crop, channels, scale and offset, mean and standard deviation, reshape.
type Preprocessing struct {
	// inputs names the inputs that these steps, stored and augmentation are for, of a model with several. Default: the only one that
	// does not take integers; integers, such as ids, are never scaled.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	Inputs []ArrayName `json:"inputs,omitempty"`
	// audio makes samples or features of recordings, or of arrays of samples, before all other steps.
	// +optional
	Audio *Audio `json:"audio,omitempty"`
	// resize to a height and width.
	// +optional
	Resize *Resize `json:"resize,omitempty"`
	// crop the centre.
	// +optional
	Crop *Size `json:"crop,omitempty"`
	// channels is the order of colours. One stored channel becomes three by repetition, three become one as luma. Default: as
	// stored.
	// +optional
	// +kubebuilder:validation:Enum=RGB;BGR;Gray
	Channels string `json:"channels,omitempty"`
	// scale multiplies values, such as "1/255". Default 1.
	// +optional
	Scale *Quotient `json:"scale,omitempty"`
	// offset is added after scale. Default 0.
	// +optional
	Offset *Quotient `json:"offset,omitempty"`
	// mean is subtracted: one number, or one a channel.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1024
	Mean []Quotient `json:"mean,omitempty"`
	// std divides: one number, or one a channel.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1024
	Std []Quotient `json:"std,omitempty"`
	// reshape of one sample, without the batch.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=16777216
	Reshape []int32 `json:"reshape,omitempty"`
}

// Audio steps, in this order: channels averaged, resampled, cut or padded with zeros at the end, features computed as tf.signal computes
// them, or as the audio front end of TensorFlow Lite Micro does.
//
// +kubebuilder:validation:XValidation:rule="has(self.features) || !(has(self.frameLength) || has(self.frameStep) || has(self.fftLength) || has(self.power) || has(self.melBands) || has(self.lowerHertz) || has(self.upperHertz) || has(self.logOffset) || has(self.coefficients))",message="frames and bands are of features: name LogMel, MFCC or MicroFrontend"
// +kubebuilder:validation:XValidation:rule="!(has(self.features) && self.features == 'MicroFrontend') || !(has(self.fftLength) || has(self.power) || has(self.logOffset) || has(self.coefficients))",message="fftLength, power, logOffset and coefficients are of LogMel and MFCC: MicroFrontend has its own"
// +kubebuilder:validation:XValidation:rule="!has(self.gainControl) || (has(self.features) && self.features == 'MicroFrontend')",message="gainControl is of MicroFrontend"
type Audio struct {
	// sampleRate in samples a second, to which recordings are resampled. Default: the files', if all have the same; of arrays it has to
	// be said.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1048576
	SampleRate int32 `json:"sampleRate,omitempty"`
	// samples of a clip: longer ones are cut, shorter ones padded. Default: as many as the model's input needs, if that is near to what
	// the clips have.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=67108864
	Samples int32 `json:"samples,omitempty"`
	// features: LogMel, [frames, melBands]; MFCC, [frames, coefficients]; or MicroFrontend, [frames, melBands], the integers of TensorFlow
	// Lite Micro's audio front end times 10/256, as micro_speech and microWakeWord train with. Default: the samples themselves, from -1 to 1.
	// +optional
	// +kubebuilder:validation:Enum=LogMel;MFCC;MicroFrontend
	Features string `json:"features,omitempty"`
	// frameLength in samples, under a Hann window. Default: 30 ms.
	// +optional
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=65536
	FrameLength int32 `json:"frameLength,omitempty"`
	// frameStep in samples. Default: 20 ms; of MicroFrontend 10 ms.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65536
	FrameStep int32 `json:"frameStep,omitempty"`
	// fftLength in samples, frames are padded to it. Default: the power of two at or above frameLength.
	// +optional
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=65536
	FFTLength int32 `json:"fftLength,omitempty"`
	// power of the magnitudes that are weighted: 1 or 2. Default 1.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2
	Power int32 `json:"power,omitempty"`
	// melBands is the number of mel bands. Default 40.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	MelBands int32 `json:"melBands,omitempty"`
	// lowerHertz is the lower edge of the lowest band. Default 20; of MicroFrontend 125.
	// +optional
	LowerHertz *Quotient `json:"lowerHertz,omitempty"`
	// upperHertz is the upper edge of the highest band. Default 4000, or half of the sample rate if that is less; of MicroFrontend 7500, or
	// 15/32 of the rate.
	// +optional
	UpperHertz *Quotient `json:"upperHertz,omitempty"`
	// logOffset is added before the logarithm. Default 1e-6.
	// +optional
	LogOffset *Quotient `json:"logOffset,omitempty"`
	// coefficients of MFCC, the first of them. Default 10.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	Coefficients int32 `json:"coefficients,omitempty"`
	// gainControl of MicroFrontend: each band is divided by a power of its noise (PCAN). Default true.
	// +optional
	GainControl *bool `json:"gainControl,omitempty"`
}

// Size is a height and width in pixels.
type Size struct {
	// height in pixels.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65536
	Height int32 `json:"height"`
	// width in pixels.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65536
	Width int32 `json:"width"`
}

// Resize is a new height and width. Pixel centres are at halves and nothing is smoothed before shrinking, as in tf.image.resize.
type Resize struct {
	Size `json:",inline"`
	// method of interpolation. Default Bilinear.
	// +optional
	// +kubebuilder:validation:Enum=Bilinear;Nearest
	Method string `json:"method,omitempty"`
}

// Augmentation varies training samples of shape [height, width, …] at random, anew each epoch. New pixels are stored zeros.
//
// +kubebuilder:validation:XValidation:rule="!has(self.padding) || (has(self.randomCrop) && self.randomCrop)",message="padding applies with randomCrop only"
type Augmentation struct {
	// horizontalFlip mirrors every second sample.
	// +optional
	HorizontalFlip bool `json:"horizontalFlip,omitempty"`
	// shift by at most this much each way, less than the image's size; over a spectrogram's time: the height.
	// +optional
	Shift *Size `json:"shift,omitempty"`
	// randomCrop crops anywhere and not in the centre.
	// +optional
	RandomCrop bool `json:"randomCrop,omitempty"`
	// padding is how far randomCrop may reach outside, in pixels.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4096
	Padding int32 `json:"padding,omitempty"`
	// noise is the standard deviation of Gaussian noise in units of the model's input. Default 0.
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) >= 0.0",message="must be at least 0"
	Noise *Decimal `json:"noise,omitempty"`
}

// Split divides samples that the dataset does not divide itself: class by class, the same for the same seed.
//
// +kubebuilder:validation:XValidation:rule="(has(self.validation) ? double(self.validation) : 0.0) + (has(self.test) ? double(self.test) : 0.0) < 1.0",message="validation and test together must leave something to train on: less than 1"
type Split struct {
	// validation is the fraction held out for decisions, in [0, 1).
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) >= 0.0 && double(self) < 1.0",message="must be at least 0 and below 1"
	Validation *Decimal `json:"validation,omitempty"`
	// test is the fraction held out for the report, in [0, 1).
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) >= 0.0 && double(self) < 1.0",message="must be at least 0 and below 1"
	Test *Decimal `json:"test,omitempty"`
	// seed of the division.
	// +optional
	Seed int64 `json:"seed,omitempty"`
}
