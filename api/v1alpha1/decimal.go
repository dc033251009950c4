package v1alpha1

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// Decimal is a number such as 3, 0.5 or 1e-4, with or without quotes, and means exactly that decimal. Without quotes a cluster and YAML
// keep 15 digits of it; more need quotes.
//
// +kubebuilder:validation:XIntOrString
// +kubebuilder:validation:Type=""
// +kubebuilder:validation:Pattern=`^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,2})?$`
// +kubebuilder:validation:MaxLength=32
type Decimal string

// Quotient is a Decimal or, in quotes, a quotient of two, such as "1/255".
//
// +kubebuilder:validation:XIntOrString
// +kubebuilder:validation:Type=""
// +kubebuilder:validation:Pattern=`^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,2})?(/0*([1-9][0-9]*([.][0-9]*)?|[.]0*[1-9][0-9]*))?$`
// +kubebuilder:validation:MaxLength=32
type Quotient string

// UnmarshalJSON keeps the text of a string or a number.
func (d *Decimal) UnmarshalJSON(data []byte) error { return unmarshalNumber((*string)(d), data) }

// UnmarshalJSON keeps the text of a string or a number.
func (q *Quotient) UnmarshalJSON(data []byte) error { return unmarshalNumber((*string)(q), data) }

// MarshalJSON writes integers bare and anything else in quotes, so that no digit is lost.
func (d Decimal) MarshalJSON() ([]byte, error) { return marshalNumber(string(d)) }

// MarshalJSON writes integers bare and anything else in quotes, so that no digit is lost.
func (q Quotient) MarshalJSON() ([]byte, error) { return marshalNumber(string(q)) }

// unmarshalNumber refuses nothing: one pipeline that cannot be read would keep a client from reading the others. What is no number is
// refused by the rules.
func unmarshalNumber(text *string, data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, text)
	}
	if string(data) != "null" {
		*text = string(data)
	}
	return nil
}

func marshalNumber(text string) ([]byte, error) {
	if n, err := strconv.ParseInt(text, 10, 32); err == nil && strconv.FormatInt(n, 10) == text {
		return []byte(text), nil
	}
	return json.Marshal(text)
}

// Float returns the value; otherwise where d is nil or empty.
func (d *Decimal) Float(otherwise float64) (float64, error) {
	if d == nil || *d == "" {
		return otherwise, nil
	}
	value, err := strconv.ParseFloat(string(*d), 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a decimal number", string(*d))
	}
	return value, nil
}

// Rat returns the exact value, or an error where the text is no number.
func (d Decimal) Rat() (*big.Rat, error) { return ParseDecimal(string(d)) }

// Canonical returns the one text that every text of the same value has: 0.5 for "0.50", ".5" and "5e-1". What is no number stays.
func (d Decimal) Canonical() Decimal {
	r, err := d.Rat()
	if err != nil {
		return d
	}
	return Decimal(canonical(r))
}

// Canonical returns the one text that every text of the same value has. What is no number stays.
func (q Quotient) Canonical() Quotient {
	above, below, quotient := strings.Cut(string(q), "/")
	r, err := ParseDecimal(above)
	if err != nil {
		return q
	}
	if quotient {
		divisor, err := ParseDecimal(below)
		if err != nil || divisor.Sign() == 0 {
			return q
		}
		r.Quo(r, divisor)
	}
	return Quotient(canonical(r))
}

// canonical is a decimal where the value has one, else a quotient of integers.
func canonical(r *big.Rat) string {
	if places, exact := r.FloatPrec(); exact {
		return r.FloatString(places)
	}
	return r.String()
}

// ParseDecimal returns the exact value of a decimal such as "0.5" or "1e-4". Exponents beyond 99, which would make numbers of
// unreasonable size, are refused as the schema refuses them.
func ParseDecimal(text string) (*big.Rat, error) {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	if digits := strings.TrimLeft(exponent, "+-"); len(digits) > 2 || len(text) > 64 || strings.ContainsAny(mantissa, "/px_") {
		return nil, fmt.Errorf("%q is not a decimal number", text)
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil, fmt.Errorf("%q is not a decimal number", text)
	}
	return r, nil
}
