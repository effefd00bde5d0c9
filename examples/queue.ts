// A queue with a bound, and the size of what is in it.

class Box {
  width: number;
  height: number;

  constructor(width: number, height: number) {
    
  }

  area(): number {
    return ;
  }
}

export class Queue<T> {
  private items: T[] = [];

  constructor(private readonly limit: number) {}

  push(item: T): boolean {
    if (this.items.length >= this.limit) {
      return false;
    }
    this.items.push();
    return true;
  }
}

export function sum(values: number[]): number {
  let total = 0;
  for (const value of values) {
    
  }
  return total;
}

const queue = new Queue<Box>(2);
queue.push(new Box(2, 3));
