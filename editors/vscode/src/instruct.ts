// What a rewrite is to do: what the model offers, what was used before, or any words it takes.

import {
  l10n,
  type Memento,
  ProgressLocation,
  type QuickPickItem,
  QuickPickItemKind,
  type TextEditor,
  window,
} from 'vscode';
import { nothing } from './asking';
import { filled, isOffered, placesOf, remembered } from './instructions';
import { textOf } from './log';
import { REWRITES, type RewritesResult } from './protocol';
import type { Server } from './server';

const HISTORY = 'dgemma.rewrite.history';

export interface Ask {
  readonly server: Server;
  readonly memory: Memento;
  readonly editor: TextEditor;
}

interface Choice extends QuickPickItem {
  readonly instruction?: string;
}

/** Let a person say what is to be done; undefined when they do not, or the model can do nothing. */
export async function chooseInstruction(ask: Ask): Promise<string | undefined> {
  const { memory, editor } = ask;
  const offered = await offers(ask);
  if (offered === undefined) {
    return undefined;
  }
  if (offered.rewrites.length === 0 && !offered.instructions) {
    const message = offered.message ?? l10n.t('The loaded model was not trained for rewrites.');
    nothing({ message });
    return undefined;
  }
  const history = memory.get<string[]>(HISTORY, []);
  const chosen = await choose(offered, history);
  const instruction = chosen === undefined ? undefined : await fillIn(chosen, editor);
  if (instruction !== undefined) {
    await memory.update(HISTORY, remembered(history, instruction));
  }
  return instruction;
}

/** What the model offers; undefined when the server cannot be asked, which is told. */
async function offers({ server, editor }: Ask): Promise<RewritesResult | undefined> {
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

/** Let a person pick: earlier instructions first, then all kinds, and what is typed if it may be. */
function choose(offered: RewritesResult, history: readonly string[]): Promise<string | undefined> {
  const { rewrites: kinds, instructions: any } = offered;
  const fits = (text: string) => text !== '' && (any || isOffered(text, kinds));
  const recent: Choice[] = history
    .filter(fits)
    .map((instruction) => ({ label: instruction, instruction }));
  const known: Choice[] = kinds.map((kind) => ({
    label: kind.instruction,
    description: l10n.t('right in {0} % of measured cases', Math.round(kind.success * 100)),
    instruction: kind.instruction,
  }));
  const group = (label: string, items: Choice[]): Choice[] =>
    items.length === 0 ? [] : [{ label, kind: QuickPickItemKind.Separator }, ...items];
  const listed: Choice[] = [
    ...group(l10n.t('used before'), recent),
    ...group(l10n.t('what the model knows'), known),
  ];
  return new Promise((resolve) => {
    const pick = window.createQuickPick<Choice>();
    pick.title = l10n.t('Rewrite the selected lines');
    pick.placeholder = any
      ? l10n.t('What is to be done? In your own words, or one of these.')
      : l10n.t('What is to be done? This model does only what is listed.');
    pick.items = listed;
    pick.onDidChangeValue((typed) => {
      const own = typed.trim();
      const more = fits(own) && !listed.some((item) => item.label === own);
      pick.items = more ? [{ label: own, instruction: own }, ...listed] : listed;
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
