package figure

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Bar is one bar of a panel: parts that follow each other, and what stands behind them.
type Bar struct {
	Label string
	Parts []float64
	Text  string
	Ours  bool // it is what the others are compared with
}

// Bars is a panel of bars that share a scale.
type Bars struct {
	Title string
	Bars  []Bar
}

// Line is a series of points.
type Line struct {
	Label string
	X, Y  []float64
}

// Lines is a panel of lines on logarithmic axes.
type Lines struct {
	Title string
	Lines []Line
	X, Y  func(float64) string // write a number beside an axis
}

// Plot is a picture: rows of panels with bars, and below them rows of panels with lines.
type Plot struct {
	Title string
	Rows  [][]Bars
	Lines [][]Lines
}

// It is light, with a ground of its own, so that it can be read on a page of any colour.
const (
	width, margin = 1000, 24
	barHeight     = 22
	lineHeight    = 240
	textSize      = 12

	style = `text{font:12px system-ui,sans-serif;fill:#1f2328}.h{font-weight:600}.t{font-size:16px;font-weight:600}` +
		`.q{fill:#59636e}.ours0{fill:#0969da}.ours1{fill:#80b8f4}.other0{fill:#818b98}.other1{fill:#c8ced5}` +
		`.g{stroke:#d1d9e0;fill:none}.l{fill:none;stroke-width:2}`
)

var colours = []string{"#0969da", "#bc4c00", "#1a7f37", "#8250df", "#cf222e", "#57606a"}

// SVG draws the plot.
func (p Plot) SVG() string {
	var b strings.Builder
	y := float64(margin)
	fmt.Fprintf(&b, `<text class="t" x="%d" y="%.0f">%s</text>`+"\n", margin, y+12, html.EscapeString(p.Title))
	y += 36
	for _, row := range p.Rows {
		tallest := 0
		for i, panel := range row {
			across := float64(width-2*margin) / float64(len(row))
			panel.draw(&b, margin+float64(i)*across, y, across-margin)
			tallest = max(tallest, len(panel.Bars))
		}
		y += float64(tallest*barHeight) + 48
	}
	for _, row := range p.Lines {
		for i, panel := range row {
			across := float64(width-2*margin) / float64(len(row))
			panel.draw(&b, margin+float64(i)*across, y, across-margin)
		}
		y += lineHeight + 72
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %.0f" role="img" aria-label="%s">`+
		"\n<style>%s</style>\n"+`<rect width="%d" height="%.0f" rx="8" fill="#ffffff" stroke="#d1d9e0"/>`+"\n%s</svg>\n",
		width, y, html.EscapeString(p.Title), style, width, y, &b)
}

func (p Bars) draw(b *strings.Builder, x, y, across float64) {
	fmt.Fprintf(b, `<text class="h" x="%.1f" y="%.1f">%s</text>`+"\n", x, y+textSize, html.EscapeString(p.Title))
	y += 24
	var most float64
	for _, bar := range p.Bars {
		most = max(most, sum(bar.Parts))
	}
	const label, value = 0.42, 0.22 // of the width
	room := across * (1 - label - value)
	for _, bar := range p.Bars {
		class := "other"
		if bar.Ours {
			class = "ours"
		}
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f">%s</text>`, x, y+textSize+1, html.EscapeString(bar.Label))
		at := x + across*label
		for i, part := range bar.Parts {
			wide := room * share(part, most)
			fmt.Fprintf(b, `<rect class="%s%d" x="%.1f" y="%.1f" width="%.1f" height="%d"/>`, class, i%2, at, y, wide, barHeight-6)
			at += wide
		}
		fmt.Fprintf(b, `<text class="q" x="%.1f" y="%.1f">%s</text>`+"\n", at+5, y+textSize+1, html.EscapeString(bar.Text))
		y += barHeight
	}
}

func sum(values []float64) (total float64) {
	for _, v := range values {
		total += v
	}
	return total
}

// share is a part of the whole, and nothing where there is nothing to share.
func share(part, whole float64) float64 {
	if whole <= 0 || math.IsNaN(part) {
		return 0
	}
	return part / whole
}

func (p Lines) draw(b *strings.Builder, x, y, across float64) {
	fmt.Fprintf(b, `<text class="h" x="%.1f" y="%.1f">%s</text>`+"\n", x, y+textSize, html.EscapeString(p.Title))
	y += 28
	const axis, names = 60, 150 // left and right of the lines
	left, room := x+axis, across-axis-names
	var xs, ys []float64
	for _, line := range p.Lines {
		xs, ys = append(xs, line.X...), append(ys, line.Y...)
	}
	if len(xs) == 0 {
		return
	}
	lowX, highX := decades(xs)
	lowY, highY := decades(ys)
	toX := func(v float64) float64 { return left + room*share(math.Log10(v)-lowX, highX-lowX) }
	toY := func(v float64) float64 { return y + lineHeight*(1-share(math.Log10(v)-lowY, highY-lowY)) }
	for d := lowX; d <= highX; d++ {
		at := toX(math.Pow(10, d))
		fmt.Fprintf(b, `<path class="g" d="M%.1f %.1fV%.1f"/><text class="q" text-anchor="middle" x="%.1f" y="%.1f">%s</text>`+"\n",
			at, y, y+lineHeight, at, y+lineHeight+18, html.EscapeString(p.X(math.Pow(10, d))))
	}
	for d := lowY; d <= highY; d++ {
		at := toY(math.Pow(10, d))
		fmt.Fprintf(b, `<path class="g" d="M%.1f %.1fH%.1f"/><text class="q" text-anchor="end" x="%.1f" y="%.1f">%s</text>`+"\n",
			left, at, left+room, left-6, at+4, html.EscapeString(p.Y(math.Pow(10, d))))
	}
	var ends []float64
	for i, line := range p.Lines {
		if len(line.X) == 0 {
			continue
		}
		colour := colours[i%len(colours)]
		var path strings.Builder
		for j := range line.X {
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(j, 1)], toX(line.X[j]), toY(line.Y[j]))
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`, toX(line.X[j]), toY(line.Y[j]), colour)
		}
		last := len(line.X) - 1
		at := apart(ends, toY(line.Y[last]))
		ends = append(ends, at)
		fmt.Fprintf(b, `<path class="l" stroke="%s" d="%s"/><text x="%.1f" y="%.1f" style="fill:%s">%s</text>`+"\n",
			colour, &path, left+room+10, at+4, colour, html.EscapeString(line.Label))
	}
}

// decades are the powers of ten around the values.
func decades(values []float64) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		low, high = min(low, math.Floor(math.Log10(v))), max(high, math.Ceil(math.Log10(v)))
	}
	if low == high {
		high++
	}
	return low, high
}

// apart moves a label down until it covers none that is there.
func apart(taken []float64, y float64) float64 {
	for moved := true; moved; {
		moved = false
		for _, t := range taken {
			if math.Abs(t-y) < textSize+2 {
				y, moved = t+textSize+2.5, true
			}
		}
	}
	return y
}
