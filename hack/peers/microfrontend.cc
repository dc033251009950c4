// Prints the integers of TensorFlow Lite Micro's audio front end, a line a frame, for hack/peers/sound.py:
//
//   git clone https://github.com/tensorflow/tflite-micro; git clone -b v130 https://github.com/mborgerding/kissfft
//   (cd kissfft && patch -p1 < ../tflite-micro/third_party/kissfft/kissfft.patch)
//   l=tflite-micro/tensorflow/lite/experimental/microfrontend/lib
//   gcc -c -O2 -Itflite-micro $l/{frontend,frontend_util,window,window_util,filterbank,filterbank_util}.c \
//     $l/{noise_reduction,noise_reduction_util,pcan_gain_control,pcan_gain_control_util,log_lut,log_scale,log_scale_util}.c
//   g++ -O2 -w -Itflite-micro -Ikissfft -o microfrontend hack/peers/microfrontend.cc $l/{fft,fft_util,kiss_fft_int16}.cc *.o
//   microfrontend RATE LENGTH_MS STEP_MS BANDS LOWER UPPER GAIN < samples of 16 bits

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "tensorflow/lite/experimental/microfrontend/lib/frontend.h"
#include "tensorflow/lite/experimental/microfrontend/lib/frontend_util.h"

int main(int, char** argv) {
  FrontendConfig config;
  FrontendFillConfigWithDefaults(&config);
  config.window.size_ms = atoi(argv[2]);
  config.window.step_size_ms = atoi(argv[3]);
  config.filterbank.num_channels = atoi(argv[4]);
  config.filterbank.lower_band_limit = atof(argv[5]);
  config.filterbank.upper_band_limit = atof(argv[6]);
  config.pcan_gain_control.enable_pcan = atoi(argv[7]);
  FrontendState state;
  if (!FrontendPopulateState(&config, &state, atoi(argv[1]))) return 1;
  std::vector<int16_t> samples;
  int16_t sample;
  while (fread(&sample, sizeof(sample), 1, stdin) == 1) samples.push_back(sample);
  for (size_t at = 0, read; at < samples.size(); at += read) {
    FrontendOutput out = FrontendProcessSamples(&state, samples.data() + at, samples.size() - at, &read);
    for (size_t i = 0; i < out.size; i++) printf(i ? " %d" : "%d", out.values[i]);
    if (out.size) printf("\n");
  }
}
