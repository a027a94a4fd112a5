package listen

const (
	maxSizeDigits = 15  // of a chunk's size in hexadecimal: always an int64
	maxExtension  = 128 // bytes behind a chunk's size
	maxTrailer    = 2 << 10
)

// States of a chunked body: what comes next.
const (
	sizeFirst = iota
	sizeMore
	extension
	sizeLF
	data
	dataCR
	dataLF
	trailerFirst
	trailerName
	trailerValue
	trailerLF
	lastLF
)

// chunks follows a chunked body as its bytes pass.
type chunks struct {
	state uint8
	count int   // digits of the size, or bytes of the extension, or of the trailer
	left  int64 // of the chunk
}

// scan goes on with b. It returns how many of its bytes belong to the body and can pass, and whether that is its end.
func (c *chunks) scan(b []byte) (n int, done bool, why *Refusal) {
	for n < len(b) {
		if c.state == data {
			pass := min(c.left, int64(len(b)-n))
			n += int(pass)
			if c.left -= pass; c.left == 0 {
				c.state = dataCR
			}
			continue
		}
		if why = c.step(b[n]); why != nil {
			return n, false, why
		}
		n++
		if c.state == lastLF && b[n-1] == '\n' {
			*c = chunks{}
			return n, true, nil
		}
	}
	return n, false, nil
}

// step takes one byte that is not data.
func (c *chunks) step(b byte) *Refusal {
	switch c.state {
	case sizeFirst, sizeMore:
		return c.size(b)
	case extension:
		if b == '\r' {
			c.state = sizeLF
			return nil
		}
		if c.count++; c.count > maxExtension {
			return errChunkLimit
		}
		if sorts[b]&inValue == 0 {
			return errChunk
		}
		return nil
	case sizeLF:
		c.state, c.count = data, 0
		if c.left == 0 {
			c.state = trailerFirst
		}
		return expect(b, '\n')
	case dataCR:
		c.state = dataLF
		return expect(b, '\r')
	case dataLF:
		c.state, c.count = sizeFirst, 0
		return expect(b, '\n')
	case trailerLF:
		c.state = trailerFirst
		return expect(b, '\n')
	case lastLF:
		return expect(b, '\n')
	}
	return c.trailer(b)
}

func (c *chunks) size(b byte) *Refusal {
	switch {
	case sorts[b]&isHex != 0:
		if c.state == sizeFirst {
			c.state, c.left, c.count = sizeMore, 0, 0
		}
		if c.count++; c.count > maxSizeDigits {
			return errChunk
		}
		d := b - '0'
		if b > '9' {
			d = b | 0x20 - 'a' + 10
		}
		c.left = c.left<<4 | int64(d)
	case c.state == sizeMore && b == ';':
		c.state, c.count = extension, 0
	case c.state == sizeMore && b == '\r':
		c.state = sizeLF
	default:
		return errChunk
	}
	return nil
}

func (c *chunks) trailer(b byte) *Refusal {
	if c.count++; c.count > maxTrailer {
		return errChunkLimit
	}
	switch {
	case c.state == trailerFirst && b == '\r':
		c.state = lastLF
	case c.state == trailerFirst && sorts[b]&inToken != 0:
		c.state = trailerName
	case c.state == trailerName && b == ':':
		c.state = trailerValue
	case c.state == trailerName && sorts[b]&inToken != 0:
	case c.state == trailerValue && b == '\r':
		c.state = trailerLF
	case c.state == trailerValue && sorts[b]&inValue != 0:
	default:
		return errChunk
	}
	return nil
}

func expect(b, want byte) *Refusal {
	if b != want {
		return errChunk
	}
	return nil
}
