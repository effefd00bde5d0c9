// The extension's one log. It never holds source text, as the server's does not.

import { type LogOutputChannel, window } from 'vscode';

let channel: LogOutputChannel | undefined;

/** The channel, made when first used. The language client must have a log channel, not a plain one. */
export function log(): LogOutputChannel {
  channel ??= window.createOutputChannel('dgemma', { log: true });
  return channel;
}

/** The text of something that was thrown. */
export function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
