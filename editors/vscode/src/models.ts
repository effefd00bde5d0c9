// "Choose Model": which models there are, what they cost to fetch, and which one runs.

import { l10n, type QuickPickItem, window } from 'vscode';
import { asking, nothing } from './asking';
import { setModel } from './config';
import { log, textOf } from './log';
import {
  type KnownModel,
  MODELS,
  type ModelsResult,
  PULL_MODEL,
  type PullModelResult,
} from './protocol';
import type { Server } from './server';

/** The command. */
export async function chooseModel(server: Server): Promise<void> {
  try {
    const found = await server.ask<ModelsResult>(MODELS, {});
    if (found.models.length === 0) {
      nothing({ message: found.message ?? l10n.t('No models are known.') });
      return;
    }
    type Entry = QuickPickItem & { readonly model: KnownModel };
    const entries: Entry[] = found.models.map((model) => ({
      model,
      label: `${model.current ? '$(check) ' : ''}${model.name}`,
      description: facts(model).join(' · '),
      detail: model.description,
    }));
    const picked = await window.showQuickPick(entries, {
      title: l10n.t('dgemma: Choose Model'),
      placeHolder: found.message ?? l10n.t('What is not here yet is fetched first.'),
      matchOnDescription: true,
      matchOnDetail: true,
    });
    if (picked !== undefined) {
      await use(server, picked.model);
    }
  } catch (error) {
    log().error(`models: ${textOf(error)}`);
    void window.showErrorMessage(`dgemma: ${textOf(error)}`);
  }
}

function facts(model: KnownModel): string[] {
  return [
    ...(model.current ? [l10n.t('in use')] : []),
    model.installed ? l10n.t('on this machine') : l10n.t('to be fetched'),
    ...(model.sizeMb === null ? [] : [size(model.sizeMb)]),
    model.licence,
  ].filter((each) => each !== '');
}

function size(megabytes: number): string {
  return megabytes < 1000
    ? l10n.t('{0} MB', Math.round(megabytes))
    : l10n.t('{0} GB', (megabytes / 1000).toFixed(1));
}

async function use(server: Server, model: KnownModel): Promise<void> {
  if (!model.installed) {
    const result = await fetching(server, model.name);
    if (result === undefined) {
      nothing({
        message: l10n.t('Stopped. What came is kept, and the next time goes on from there.'),
      });
      return;
    }
    if (!result.pulled) {
      nothing({ message: result.message ?? l10n.t('{0} was not fetched.', model.name) });
      return;
    }
  }
  await setModel(model.name);
  nothing({ message: l10n.t('{0} is used from the next request on.', model.name) });
}

/** Fetch a model, with how far it is; undefined when the person stopped it. */
async function fetching(server: Server, name: string): Promise<PullModelResult | undefined> {
  const title = l10n.t('dgemma: fetching {0}', name);
  try {
    return await asking(title, (token, bar) => {
      let done = 0;
      server.onFetching = (params) => {
        if (params.kind === 'report') {
          const now = params.percentage ?? done;
          bar.report({ message: params.message ?? '', increment: Math.max(0, now - done) });
          done = Math.max(done, now);
        }
      };
      return server.ask<PullModelResult>(PULL_MODEL, { name }, token);
    });
  } finally {
    server.onFetching = undefined;
  }
}
