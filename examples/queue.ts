// A queue with a bound: what does not fit is refused.

export class Queue<T> {
  private items: T[] = [];

  constructor(private readonly limit: number) {}

  get length(): number {
    return ;
  }

  isEmpty(): boolean {
    return this.items.length === ;
  }

  push(item: T): boolean {
    if () {
      return false;
    }
    this.items.push();
    return true;
  }

  pop(): T | undefined {
    return this.items.shift();
  }

  forEach(visit: (item: T) => void): void {
    for (const item of this.items) {
      
    }
  }
}

const queue = new Queue<string>(2);
queue.push("one");
queue.push("two");
console.log(queue.length, queue.isEmpty(), queue.pop());
