// "Rewrite Selection": pick an instruction the model knows, fill in its places, show the answer.

import {
  l10n,
  type Memento,
  ProgressLocation,
  type QuickPickItem,
  QuickPickItemKind,
  type TextEditor,
  window,
} from 'vscode';
import type { Reviews } from './diff';
import { propose, selectedRange } from './edits';
import { filled, isOffered, placesOf, remembered } from './instructions';
import { textOf } from './log';
import { REWRITE, REWRITES, type RewriteKind, type RewritesResult } from './protocol';
import type { Server } from './server';

const HISTORY = 'dgemma.rewrite.history';

interface Choice extends QuickPickItem {
  readonly instruction?: string;
}

/** The command. */
export async function rewriteSelection(
  server: Server,
  reviews: Reviews,
  memory: Memento,
): Promise<void> {
  const editor = window.activeTextEditor;
  if (editor === undefined) {
    return;
  }
  const range = selectedRange(editor);
  const offered = await offers(server, editor);
  if (offered === undefined) {
    return;
  }
  if (offered.rewrites.length === 0) {
    const why = offered.message ?? l10n.t('The loaded model was not trained for rewrites.');
    void window.showInformationMessage(`dgemma: ${why}`);
    return;
  }
  const history = memory.get<string[]>(HISTORY, []);
  const chosen = await choose(offered.rewrites, history);
  if (chosen === undefined) {
    return;
  }
  const instruction = await fillIn(chosen, editor);
  if (instruction === undefined) {
    return;
  }
  await memory.update(HISTORY, remembered(history, instruction));
  await propose(server, reviews, editor, l10n.t('dgemma: {0}', instruction), REWRITE, {
    range,
    instruction,
  });
}

/** What the model offers; undefined when the server cannot be asked, which is told. */
async function offers(server: Server, editor: TextEditor): Promise<RewritesResult | undefined> {
  try {
    return await window.withProgress(
      { location: ProgressLocation.Window, title: l10n.t('dgemma: asking what the model can do') },
      () => server.ask<RewritesResult>(REWRITES, { language: editor.document.languageId }),
    );
  } catch (error) {
    void window.showErrorMessage(`dgemma: ${textOf(error)}`);
    return undefined;
  }
}

/** Let a person pick: earlier instructions first, then all kinds, and what is typed if it is one. */
function choose(
  kinds: readonly RewriteKind[],
  history: readonly string[],
): Promise<string | undefined> {
  const recent: Choice[] = history
    .filter((instruction) => isOffered(instruction, kinds))
    .map((instruction) => ({ label: instruction, instruction }));
  const known: Choice[] = kinds.map((kind) => ({
    label: kind.instruction,
    description: l10n.t('right in {0} % of measured cases', Math.round(kind.success * 100)),
    instruction: kind.instruction,
  }));
  const listed: Choice[] = [
    ...(recent.length === 0
      ? []
      : [{ label: l10n.t('used before'), kind: QuickPickItemKind.Separator }, ...recent]),
    { label: l10n.t('what the model knows'), kind: QuickPickItemKind.Separator },
    ...known,
  ];
  return new Promise((resolve) => {
    const pick = window.createQuickPick<Choice>();
    pick.title = l10n.t('Rewrite the selected lines');
    pick.placeholder = l10n.t('What is to be done?');
    pick.items = listed;
    pick.onDidChangeValue((typed) => {
      const own = typed.trim();
      const fits = isOffered(own, kinds) && !listed.some((item) => item.label === own);
      pick.items = fits ? [{ label: own, instruction: own }, ...listed] : listed;
    });
    pick.onDidAccept(() => {
      resolve(pick.selectedItems[0]?.instruction);
      pick.dispose();
    });
    pick.onDidHide(() => {
      resolve(undefined);
      pick.dispose();
    });
    pick.show();
  });
}

/** Ask for the arguments of an instruction, one box each; undefined when one is left. */
async function fillIn(instruction: string, editor: TextEditor): Promise<string | undefined> {
  const places = placesOf(instruction);
  const values = new Map<string, string>();
  const word = editor.document.getWordRangeAtPosition(editor.selection.active);
  for (const [index, place] of places.entries()) {
    const value = await window.showInputBox({
      title: filled(instruction, values),
      prompt: l10n.t('Instead of {0}', `{${place}}`),
      ignoreFocusOut: true,
      ...(index === 0 && word !== undefined ? { value: editor.document.getText(word) } : {}),
      validateInput: (text) =>
        text.trim() === '' ? l10n.t('Something must stand here.') : undefined,
    });
    if (value === undefined) {
      return undefined;
    }
    values.set(place, value.trim());
  }
  return filled(instruction, values);
}
