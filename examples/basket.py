"""A shopping basket: prices in cents, one line per article."""

from dataclasses import dataclass, field


@dataclass
class Line:
    name: str
    price: int
    count: int = 1

    def total(self) -> int:
        return 

    def is_free(self) -> bool:
        return self.price == 


@dataclass
class Basket:
    lines: list[Line] = field(default_factory=list)

    def add(self, name: str, price: int, count: int = 1) -> None:
        self.lines.append(Line())

    def total(self) -> int:
        return sum( for line in self.lines)

    def find(self, name: str) -> Line | None:
        for line in self.lines:
            
        return None

    def remove(self, name: str) -> None:
        self.lines = [line for line in self.lines if ]


def main() -> None:
    basket = Basket()
    basket.add("tea", 350, 2)
    basket.add("cake", 420)
    assert basket.total() == 1120
    tea = basket.find()
    assert tea is not None
    basket.remove("tea")
    print(basket.total())


if __name__ == "__main__":
    
