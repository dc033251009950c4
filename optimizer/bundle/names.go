package bundle

import (
	"fmt"
	"slices"
	"strings"
)

// reserved are words that would pass for names of files and of a namespace and are taken, with what takes them.
var reserved = []struct{ by, words string }{
	{"a word of C++", `alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class co_await co_return
		co_yield compl concept const const_cast consteval constexpr constinit continue decltype default delete do double dynamic_cast else enum
		explicit export extern false float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or
		or_eq private protected public register reinterpret_cast requires return short signed sizeof static static_assert static_cast struct
		switch template this thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t while xor
		xor_eq`},
	{"a name of what a firmware is built of", `all arduino clean esp_idf flatbuffers help install linux loop main ruy gemmlowp setup std tensorflow test
		tflite tflm unix`},
	{"a header of C", `assert complex ctype errno fenv inttypes iso646 limits locale malloc math memory setjmp signal stdalign stdarg stdatomic
		stdbool stddef stdint stdio stdlib stdnoreturn string strings tgmath threads time uchar unistd wchar wctype`},
	{"a function of C", `abort abs acos acosh asctime asin asinh atan atan2 atanh atexit atof atoi atol atoll basename bsearch calloc cbrt ceil
		clearerr clock copysign cos cosh ctime difftime div drem erf erfc exit exp exp2 expm1 fabs fclose fdim feof ferror fflush fgetc fgetpos
		fgets finite floor fma fmax fmin fmod fopen fprintf fputc fputs fread free freopen frexp fscanf fseek fsetpos ftell fwrite gamma getc
		getchar getenv gmtime hypot ilogb index isinf isnan j0 j1 jn labs ldexp ldiv lgamma llabs lldiv llrint llround localtime log log10 log1p
		log2 logb lrint lround memchr memcmp memcpy memmove memset mktime modf nan nearbyint nextafter perror pow printf putc putchar puts
		qsort rand random read realloc remainder remove remquo rename rewind rindex rint round scalb scalbln scalbn scanf select setbuf setvbuf
		significand sin sinh sprintf sqrt srand sscanf strcat strchr strcmp strcoll strcpy strcspn strdup strerror strftime strlen strncat
		strncmp strncpy strpbrk strrchr strspn strstr strtod strtof strtok strtol strtold strtoll strtoul strtoull strxfrm system tan tanh
		tgamma tmpfile tmpnam trunc ungetc vfprintf vprintf vsprintf write y0 y1 yn`},
}

// taken is what takes a name, "" where nothing does.
func taken(name string) string {
	for _, r := range reserved {
		if slices.Contains(strings.Fields(r.words), name) {
			return r.by
		}
	}
	return ""
}

// CheckName is an error where a name is not one that C++, Arduino and ESP-IDF all take as it is.
func CheckName(name string) error {
	if by := taken(name); by != "" {
		return fmt.Errorf("%q is %s: want another, such as %s", name, by, identifier(name))
	}
	if identifier(name) != name {
		return fmt.Errorf("%q: want lower-case letters, digits and underscores, with no digit first, such as %s", name, identifier(name))
	}
	return nil
}

// identifier makes a name that C++ and file systems take.
func identifier(name string) string {
	out := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(name))
	if out == "" || out[0] >= '0' && out[0] <= '9' || taken(out) != "" {
		out = "model_" + out
	}
	return out
}
