// Prints convolutions of random sizes, after the first 300 ones of a single row and depthwise ones of large images, with the scratch buffers
// that CMSIS-NN, or with -DESP_NN ESP-NN, asks for: parts of optimizer/target/testdata/scratch.txt, whose columns are those of
// recordedScratch in optimizer/target/scratch_test.go.
//
// Build it against ARM-software/CMSIS-NN with Source/ConvolutionFunctions/*_get_buffer_sizes_s{4,8,16}.c once for each library, with
// defined(ARM_MATH_MVEI) and defined(ARM_MATH_DSP) in them written as 0 and 0 (cmsis-nn), 0 and 1 (cmsis-nn-dsp), 1 and 1 (cmsis-nn-mve), and
// with -DESP_NN also against the functions esp_nn_get_*_scratch_size_esp32s3, cut out of espressif/esp-nn. Then
//
//	paste -d' ' plain.txt <(cut -d' ' -f17,18 dsp.txt) <(cut -d' ' -f17,18 mve.txt) <(cut -d' ' -f17 esp.txt)
#include <stdio.h>
#include <stdlib.h>

#include "arm_nnfunctions.h"
#include "arm_nnsupportfunctions.h"
#ifdef ESP_NN
#include "esp_nn_defs.h"
int esp_nn_get_conv_scratch_size_esp32s3(const data_dims_t *, const data_dims_t *, const data_dims_t *, const conv_params_t *);
int esp_nn_get_depthwise_conv_scratch_size_esp32s3(const data_dims_t *, const data_dims_t *, const data_dims_t *, const dw_conv_params_t *);
#endif

static int pick(const int *v, int n) { return v[rand() % n]; }
#define PICK(...) ({ static const int v[] = {__VA_ARGS__}; pick(v, sizeof v / sizeof *v); })

int main(void) {
  srand(7);
  for (int i = 0; i < 380; i++) {
    int kind = i % 5; // conv s8, conv s16, depthwise s8, depthwise s4, transpose
    int kh = PICK(1, 1, 2, 3, 3, 5, 10), kw = PICK(1, 1, 2, 3, 3, 4, 8), sh = PICK(1, 1, 2, 2, 3), sw = PICK(1, 1, 2, 2, 3), dh = PICK(1, 1, 1, 2), dw = PICK(1, 1, 1, 2), same = rand() % 2;
    if (rand() % 3 == 0) kw = kh;
    if (kind == 4) dh = dw = 1;
    int row = i >= 300 && i % 2 == 0, large = i >= 300 && !row;
    if (row) kind = 0, kh = dw = 1;
    if (large) kind = 2, kh = kw = PICK(3, 5), dh = dw = 1;
    int in_h = PICK(1, 1, 4, 9, 16, 32, 49), in_w = PICK(2, 4, 10, 16, 33, 64), in_c = PICK(1, 3, 4, 8, 16, 17, 20, 24, 64, 130), n = rand() % 8 == 0 ? 2 : 1;
    if (rand() % 3 == 0) in_h = in_w;
    if (row) in_h = 1, in_w = PICK(5, 16, 33, 49), in_c = PICK(1, 3, 4, 8, 20);
    if (large) in_h = PICK(16, 32), in_w = PICK(33, 64), in_c = PICK(8, 16, 20, 24, 32, 64), n = 1;
    int mult = !large && rand() % 4 == 0 ? PICK(2, 4, 8) : 1;
    int out_c = kind == 2 || kind == 3 ? in_c * mult : PICK(1, 2, 8, 10, 64);
    if ((kind == 2 || kind == 3) && in_c == 1 && rand() % 2) out_c = 16, mult = 16;
    int eh = (kh - 1) * dh + 1, ew = (kw - 1) * dw + 1, oh, ow, ph = 0, pw = 0, inner = in_c;
    if (kind == 0 && !row && in_c % 4 == 0 && out_c % 2 == 0 && rand() % 6 == 0) inner = in_c / 2;
    if (kind == 4) { oh = same ? in_h * sh : (in_h - 1) * sh + kh; ow = same ? in_w * sw : (in_w - 1) * sw + kw; }
    else {
      if (!same && (eh > in_h || ew > in_w)) same = 1;
      oh = same ? (in_h + sh - 1) / sh : (in_h + sh - eh) / sh; ow = same ? (in_w + sw - 1) / sw : (in_w + sw - ew) / sw;
      int th = (oh - 1) * sh + eh - in_h, tw = (ow - 1) * sw + ew - in_w; ph = th > 0 ? th / 2 : 0; pw = tw > 0 ? tw / 2 : 0;
    }
    cmsis_nn_dims in = {n, in_h, in_w, in_c}, out = {n, oh, ow, out_c}, f = {1, kh, kw, kind == 2 || kind == 3 ? out_c : inner};
    cmsis_nn_conv_params p = {0}; p.stride.w = sw; p.stride.h = sh; p.padding.w = pw; p.padding.h = ph; p.dilation.w = dw; p.dilation.h = dh;
    cmsis_nn_dw_conv_params q = {0}; q.padding = p.padding; q.dilation = p.dilation; q.stride = p.stride; q.ch_mult = mult;
    cmsis_nn_transpose_conv_params t = {0}; t.stride = p.stride;
    int a = 0, b = -1;
#ifdef ESP_NN
    data_dims_t ei = {.width = in_w, .height = in_h, .channels = in_c, .extra = 1}, eo = {.width = ow, .height = oh, .channels = out_c, .extra = 1};
    data_dims_t ef = {.width = kw, .height = kh, .channels = inner};
    conv_params_t ep = {.stride = {sw, sh}, .padding = {pw, ph}};
    dw_conv_params_t eq = {.ch_mult = out_c / in_c, .stride = {sw, sh}, .padding = {pw, ph}};
    a = kind == 0 ? esp_nn_get_conv_scratch_size_esp32s3(&ei, &ef, &eo, &ep) : kind == 2 ? esp_nn_get_depthwise_conv_scratch_size_esp32s3(&ei, &ef, &eo, &eq) : -1;
#else
    switch (kind) {
    case 0: a = arm_convolve_wrapper_s8_get_buffer_size(&p, &in, &f, &out); break;
    case 1: a = arm_convolve_wrapper_s16_get_buffer_size(&p, &in, &f, &out); break;
    case 2: a = arm_depthwise_conv_wrapper_s8_get_buffer_size(&q, &in, &f, &out); break;
    case 3: a = arm_depthwise_conv_wrapper_s4_get_buffer_size(&q, &in, &f, &out); break;
    case 4: f.n = out_c; a = arm_transpose_conv_s8_get_buffer_size(&t, &in, &f, &out); b = arm_transpose_conv_s8_get_reverse_conv_buffer_size(&t, &in, &f); break;
    }
#endif
    printf("%d %d %d %d %d %d %d %d %d %d %d %d %d %d %d %d %d %d\n", kind, n, in_h, in_w, in_c, oh, ow, out_c, kh, kw, inner, sh, sw, dh, dw, same, a, b);
  }
}
