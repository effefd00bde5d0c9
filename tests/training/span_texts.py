"""The same basket of fruit in every language, and draws of spans from a text."""

from __future__ import annotations

import random

from dgemma_training.spans import Mix, Span, SpanKind, SpanSampler

PYTHON = '''\
"""What it does."""

import os
from typing import Any

LIMIT = 10


class Basket(Any):
    """Some fruit 🍎."""

    size: int = 3
    name: str = "漢字"

    def add(self, fruit: str, count: int = 1) -> int:
        # Too many are too many.
        if count > LIMIT and fruit:
            raise ValueError(fruit, count)
        total = self.size + count
        self.size = total

        while total:
            total -= 1
        for item in os.listdir("."):
            print(item, len(item))
        return total + 1


def main(paths):
    basket = Basket()
    basket.add(
        "🍐",
        len(paths),
    )
    value = [path for path in paths if path]
    return value
'''

SCRIPT = """\
import { a } from "b";

/** A basket of fruit 🍎. */
export class Basket {
  size = 3;

  add(fruit, count = 1) {
    // Too many are too many.
    if (count > this.size && fruit) {
      throw new Error(fruit, count);
    }
    const total = this.size + count;
    this.size = total;
    for (const item of a(fruit)) {
      console.log(item, "漢字");
    }
    while (total) {
      a(total, 1);
    }
    return total + 1;
  }
}

export function main(paths, other) {
  const basket = new Basket(1, 2);
  basket.add(
    paths[0],
    other.length,
  );
  return basket;
}
"""

TYPED = (
    SCRIPT.replace("fruit, count = 1)", "fruit: string, count: number = 1): number")
    + """
interface Fruit {
  name: string;
  weight: number;
}
"""
)

JSX = (
    TYPED
    + """
export const View = (props: Fruit) => {
  const label = props.name;
  const weight = String(props.weight, 10);
  return <div title={label}>{weight}</div>;
};
"""
)

GO = """\
package fruit

import (
	"fmt"
	"os"
)

// Basket holds fruit 🍎.
type Basket struct {
	Size int
	Name string
}

func (b *Basket) Add(fruit string, count int) (int, error) {
	if count > b.Size && fruit != "" {
		return 0, fmt.Errorf("too many: %s %d", fruit, count)
	}
	total := b.Size + count
	b.Size = total
	for i := 0; i < total; i++ {
		fmt.Println(i, "漢字")
	}
	for _, name := range os.Args {
		fmt.Println(name, total)
	}
	return total + 1, nil
}
"""

RUST = """\
use std::fmt;

/// Holds fruit 🍎.
pub struct Basket {
    size: usize,
    name: String,
}

impl Basket {
    pub fn add(&mut self, fruit: &str, count: usize) -> usize {
        if count > self.size && !fruit.is_empty() {
            return fail(fruit, count);
        }
        let total = self.size + count;
        self.size = total;
        while total > self.size {
            println!("{} {}", total, "漢字");
        }
        for item in 0..total {
            show(item, total);
        }
        let kind = match total {
            0 => "none",
            _ => "some",
        };
        total + 1
    }
}
"""

JAVA = """\
package fruit;

import java.util.List;

/** Holds fruit 🍎. */
public class Basket {
    private int size = 3;

    public int add(String fruit, int count) {
        // Too many are too many.
        if (count > size && fruit != null) {
            throw new IllegalArgumentException(fruit + count, null);
        }
        int total = size + count;
        this.size = total;
        for (int i = 0; i < total; i++) {
            System.out.println(i, "漢字");
        }
        return total + 1;
    }
}
"""

C = """\
#include <stdio.h>

/* Adds 🍎. */
static int add(const char *fruit, int count)
{
    int total = 0;
    if (count > 3 && fruit) {
        return fail(fruit, count);
    }
    while (total < count) {
        total += 1;
        printf("%d %s", total, "漢字");
    }
    return total + 1;
}
"""

KOTLIN = """\
package fruit

import java.util.UUID

/** Holds fruit 🍎. */
class Basket(val size: Int) {
    fun add(fruit: String, count: Int): Int {
        // Too many are too many.
        if (count > size && fruit != "") {
            throw IllegalArgumentException(fruit, null)
        }
        val total = size + count
        var left = total
        while (left > size) {
            println(left, "漢字")
            left = left - 1
        }
        return total + 1
    }
}
"""

TEXTS = {
    "python": PYTHON,
    "javascript": SCRIPT,
    "typescript": TYPED,
    "tsx": JSX,
    "go": GO,
    "rust": RUST,
    "java": JAVA,
    "c": C,
    "kotlin": KOTLIN,  # without a grammar
}
KINDS = [kind for kind in SpanKind if kind is not SpanKind.EMPTY]


def draw(text: str, language: str, kind: SpanKind, count: int = 80) -> list[Span]:
    """Many spans of a kind; that there are some is part of what is tested."""
    sampler = SpanSampler(text, language)
    rng = random.Random(7)
    drawn = [sampler.sample(rng, 0, len(text), Mix.only(kind)) for _ in range(count)]
    spans = [span for span in drawn if span is not None]
    assert len(spans) > count // 2, f"{language} has no {kind}"
    assert {span.kind for span in spans} == {kind}
    return spans


def texts_of(text: str, language: str, kind: SpanKind, count: int = 400) -> set[str]:
    return {text[span.start : span.end] for span in draw(text, language, kind, count)}


def around(text: str, span: Span) -> tuple[str, str]:
    """What stands on the span's lines before and after it."""
    after = text.find("\n", span.end)
    before = text[text.rfind("\n", 0, span.start) + 1 : span.start]
    return before, text[span.end : after if after >= 0 else len(text)]
