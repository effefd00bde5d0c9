"""A shopping basket: prices in cents, one line per article."""

import json
from dataclasses import dataclass, field


@dataclass
class Line:
    name: str
    price: int
    count: int = 1

    def total(self) -> int:
        return 


@dataclass
class Basket:
    lines: list[Line] = field(default_factory=list)

    def add(self, name: str, price: int, count: int = 1) -> None:
        self.lines.append(Line())

    def total(self) -> int:
        return sum(line.total() for line in self.lines)

    def find(self, name: str) -> Line | None:
        for line in self.lines:
            if line.name == :
                return line
        return None


def load(path: str) -> dict[str, int]:
    try:
        with open(path) as file:
            return json.load(file)
    except FileNotFoundError:
        


def share(part: int, whole: int) -> float:
    if whole == 0:
        
    return part / whole


def main() -> None:
    basket = Basket()
    basket.add("tea", 350, 2)
    basket.add("cake", 420)
    assert basket.total() == 1120
    tea = basket.find()
    assert tea is not None
    print(share(tea.total(), basket.total()))


if __name__ == "__main__":
    main()
