// Globs of files, matched as the server does: `dgemma_lsp/ignored.py`. Knows no editor.

const SPECIAL = /[\\^$.|+(){}]/;

/**
 * Whether a document's path matches any of the globs. Letter case does not count; `*` matches
 * across folders; a glob without a leading slash may start at any folder.
 */
export function matches(path: string, globs: readonly string[]): boolean {
  const folded = path.toLowerCase();
  return globs.some((glob) => {
    const anchored = glob.startsWith('/') ? glob : `*/${glob.replace(/^\*\*\//, '')}`;
    return new RegExp(`^${translate(anchored.toLowerCase())}$`, 's').test(folded);
  });
}

/** A shell pattern as the source of a regular expression; a bracket that never closes is itself. */
function translate(glob: string): string {
  let out = '';
  for (let at = 0; at < glob.length; at++) {
    const char = glob.charAt(at);
    if (char === '*') {
      out += '.*';
    } else if (char === '?') {
      out += '.';
    } else if (char === '[') {
      // A bracket right after the opening one, or after its `!`, is one of the set.
      const end = glob.indexOf(']', at + (glob.charAt(at + 1) === '!' ? 3 : 2));
      if (end < 0) {
        out += '\\[';
      } else {
        const set = glob.slice(at + 1, end).replace(/[\\\]^]/g, '\\$&');
        out += `[${set.startsWith('!') ? `^${set.slice(1)}` : set}]`;
        at = end;
      }
    } else {
      out += SPECIAL.test(char) ? `\\${char}` : char;
    }
  }
  return out;
}
