// The methods beyond LSP, as docs/protocol.md has them; only the members that are used here.

import type { Position, Range, TextDocumentEdit } from 'vscode-languageclient/node';

export const REWRITE = 'dgemma/rewrite';
export const REWRITES = 'dgemma/rewrites';
export const MEND = 'dgemma/mend';
export const STATUS = 'dgemma/status';
export const STOP_RUNTIME = 'dgemma/stopRuntime';
export const EXTENDED = 'dgemma/extended';

export interface DocumentId {
  readonly uri: string;
  readonly version?: number | null;
}

export interface RewriteKind {
  readonly kind: string;
  readonly instruction: string;
  /** Measured share of rewrites that were right, 0 to 1. */
  readonly success: number;
  readonly languages: readonly string[];
}

export interface RewritesResult {
  readonly rewrites: readonly RewriteKind[];
  readonly message?: string | null;
}

export interface RewriteParams {
  readonly textDocument: DocumentId;
  readonly range: Range;
  readonly instruction: string;
}

export interface MendParams {
  readonly textDocument: DocumentId;
  readonly range: Range;
}

/** The answer to a rewrite and to a mend: an edit, or null and the reason. */
export interface EditResult {
  readonly edit?: { readonly documentChanges: readonly TextDocumentEdit[] } | null;
  readonly message?: string | null;
  readonly reason?: string | null;
  readonly model?: string | null;
}

export interface RuntimeStatus {
  readonly state: 'unloaded' | 'fetching' | 'loading' | 'ready' | 'failed';
  readonly progress: number | null;
  readonly message: string;
  readonly model: string;
  readonly device: string;
  readonly residentMb: number;
}

export interface StatusResult {
  readonly release: string;
  readonly mode: string;
  readonly connected: boolean;
  readonly runtime: RuntimeStatus | null;
  readonly problem: string | null;
  readonly declined: Readonly<Record<string, number>>;
  readonly rejected: Readonly<Record<string, number>>;
  readonly silent: Readonly<Record<string, number>>;
  readonly shown: number;
  readonly accepted: number;
  readonly lastTotalMs: number | null;
  readonly rewrites: readonly RewriteKind[];
}

export interface StopResult {
  readonly stopped: boolean;
  readonly message?: string | null;
}

export interface ExtendedParams {
  readonly textDocument: DocumentId;
  readonly position: Position;
  readonly text: string;
}
