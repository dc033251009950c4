package suggest

import "testing"

func TestSentence(t *testing.T) {
	names := []string{"cortex-m4", "cortex-m55", "cortex-m7", "esp32", "esp32-s3", "stm32mp2", "stm32n6", "ethos-u55"}
	for name, want := range map[string]string{
		"cortexm55": "did you mean cortex-m55?", "ESP32S3": "did you mean esp32-s3?", "cortex-m5": "did you mean cortex-m4, cortex-m55 or cortex-m7?",
		"stm32": "did you mean stm32mp2 or stm32n6?", "ethos": "did you mean ethos-u55?", "riscv": "", "": "", "e": "did you mean esp32, esp32-s3 or ethos-u55?",
	} {
		if got := Sentence(name, names); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
