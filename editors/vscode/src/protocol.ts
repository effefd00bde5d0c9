// The methods beyond LSP, as docs/protocol.md has them; only the members that are used here.

import type { Position, Range, TextDocumentEdit } from 'vscode-languageclient/node';

export const PREVIEW = 'dgemma/preview';
export const RESOLVE = 'dgemma/resolve';
export const HOLES = 'dgemma/holes';
export const FILL_HOLES = 'dgemma/fillHoles';
export const CONFIDENCE = 'dgemma/confidence';
export const DID_SHOW = 'dgemma/didShow';
export const DID_PARTIALLY_ACCEPT = 'dgemma/didPartiallyAccept';
export const DID_REJECT = 'dgemma/didReject';
export const STATISTICS = 'dgemma/statistics';
export const ERASE_STATISTICS = 'dgemma/eraseStatistics';
export const MODELS = 'dgemma/models';
export const PULL_MODEL = 'dgemma/pullModel';

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
  /** Whether any instruction may be tried, not only those listed. */
  readonly instructions?: boolean;
  readonly message?: string | null;
}

export interface RewriteParams {
  readonly textDocument: DocumentId;
  readonly range: Range;
  readonly instruction: string;
  readonly pinned: readonly Range[];
  /** Share of the old text that is made anew, above 0 up to 1. */
  readonly noise: number;
  readonly seed: number;
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
  /** For `dgemma/resolve`; null for none. */
  readonly proposal?: number | null;
  readonly hunks?: readonly HunkResult[];
}

/** One token of a text; places are characters, not UTF-16 units. */
export interface TokenResult {
  readonly start: number;
  readonly end: number;
  readonly probability: number;
}

/** One place where a proposed rewrite differs from the document: whole lines. */
export interface HunkResult {
  readonly id: number;
  readonly range: Range;
  readonly oldText: string;
  readonly newText: string;
  readonly tokens?: readonly TokenResult[];
}

export interface ResolveParams {
  readonly proposal: number;
  readonly action: 'accept' | 'reject' | 'redo';
  readonly hunks: readonly number[] | null;
  readonly seed?: number;
}

export interface ResolveResult {
  readonly hunks: readonly HunkResult[];
  readonly message?: string | null;
  readonly reason?: string | null;
}

export type TokenState = 'noise' | 'guess' | 'settled';
export type DraftToken = readonly [text: string, state: TokenState];

/** The canvas of a running request as it stands: one list of tokens per span. */
export interface PreviewParams {
  readonly token: string | number;
  readonly candidate: number;
  readonly step: number;
  readonly maxSteps: number;
  readonly spans: readonly (readonly DraftToken[])[];
  readonly ranges?: readonly Range[];
}

export interface MarkedHole {
  readonly range: Range;
  readonly mark: string;
}

export interface HolesResult {
  readonly holes: readonly MarkedHole[];
  readonly message?: string | null;
}

export interface FilledHole {
  readonly range: Range;
  readonly mark: string;
  readonly oldText: string;
  readonly text: string | null;
  readonly reason: string | null;
  readonly tokens?: readonly TokenResult[];
}

export interface FillHolesResult {
  readonly holes: readonly FilledHole[];
  readonly reason?: string | null;
  readonly message?: string | null;
}

export interface ConfidenceResult {
  readonly text: string;
  readonly tokens: readonly TokenResult[];
}

export interface Counts {
  readonly requests: number;
  readonly shown: number;
  readonly accepted: number;
  readonly partlyAccepted: number;
  readonly rejected: number;
  readonly kept: number;
  readonly latencyP50Ms: number | null;
  readonly latencyP95Ms: number | null;
}

export interface StatisticsResult {
  readonly path: string;
  readonly since: string | null;
  readonly total: Counts;
  readonly byLanguage: Readonly<Record<string, Counts>>;
}

export interface KnownModel {
  readonly name: string;
  readonly description: string;
  readonly licence: string;
  /** To fetch, in MB; null when unknown. */
  readonly sizeMb: number | null;
  readonly installed: boolean;
  readonly current: boolean;
}

export interface ModelsResult {
  readonly models: readonly KnownModel[];
  readonly message?: string | null;
}

export interface PullModelResult {
  readonly pulled: boolean;
  readonly message?: string | null;
}

export interface RuntimeStatus {
  readonly state: 'unloaded' | 'fetching' | 'loading' | 'ready' | 'failed';
  readonly progress: number | null;
  readonly message: string;
  readonly model: string;
  readonly device: string;
  readonly deviceReason: string;
  readonly dtype: string;
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
