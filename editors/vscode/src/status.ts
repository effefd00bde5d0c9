// The status bar item, the language status item, and the list behind "dgemma: Show Status".

import {
  commands,
  Disposable,
  type LanguageStatusItem,
  LanguageStatusSeverity,
  l10n,
  languages,
  MarkdownString,
  type QuickPickItem,
  QuickPickItemKind,
  StatusBarAlignment,
  type StatusBarItem,
  ThemeColor,
  window,
} from 'vscode';
import { quiet } from './config';
import { enabledFor } from './gate';
import { log, textOf } from './log';
import { type RuntimeStatus, STATUS, type StatusResult } from './protocol';
import { DOCUMENTS, isServed, type Server } from './server';
import { type Kind, kindOf, newest, type Why } from './state';
import type { Suggest } from './suggest';
import { ofServer, ofSilence } from './words';

/** How often the server is asked while the window has the focus. */
const EVERY_MS = 15_000;
/** How long after an answer it is asked. */
const SOON_MS = 400;

const ICONS: Record<Kind, string> = {
  untrusted: '$(workspace-untrusted)',
  missing: '$(desktop-download)',
  error: '$(warning)',
  off: '$(circle-slash)',
  snoozed: '$(bell-slash)',
  busy: '$(sync~spin)',
  loading: '$(loading~spin)',
  manual: '$(debug-pause)',
  idle: '$(sparkle)',
};

export class StatusItems {
  private readonly bar: StatusBarItem;
  private readonly language: LanguageStatusItem;
  private readonly all: Disposable;
  private readonly every: NodeJS.Timeout;
  private soon: NodeJS.Timeout | undefined;
  private status: StatusResult | undefined;
  private why: Why;

  constructor(
    private readonly server: Server,
    private readonly suggest: Suggest,
  ) {
    this.bar = window.createStatusBarItem('dgemma.status', StatusBarAlignment.Right, 90);
    this.bar.name = 'dgemma';
    this.bar.command = 'dgemma.showStatus';
    this.language = languages.createLanguageStatusItem(
      'dgemma.language',
      DOCUMENTS.map((each) => ({ ...each })) as { scheme: string }[],
    );
    this.language.name = 'dgemma';
    this.every = setInterval(() => {
      if (window.state.focused) {
        void this.poll();
      } else {
        this.draw();
      }
    }, EVERY_MS);
    this.all = Disposable.from(
      this.bar,
      this.language,
      server.onDidChange((running) => {
        if (running !== 'running') {
          this.status = undefined;
        }
        this.pollSoon();
        this.draw();
      }),
      suggest.onDidChange((activity) => {
        this.why = activity.silence === undefined ? this.why : { here: activity.silence };
        if (activity.busy === 0 && activity.silence === undefined) {
          this.pollSoon();
        }
        this.draw();
      }),
      window.onDidChangeActiveTextEditor(() => this.draw()),
    );
    this.draw();
    this.bar.show();
  }

  dispose(): void {
    clearInterval(this.every);
    clearTimeout(this.soon);
    this.all.dispose();
  }

  private pollSoon(): void {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => void this.poll(), SOON_MS);
  }

  /** Ask the server; it starts nothing for that. */
  async poll(): Promise<void> {
    if (this.server.running !== 'running') {
      this.draw();
      return;
    }
    const before = this.status;
    try {
      this.status = await this.server.ask<StatusResult>(STATUS, {});
    } catch (error) {
      log().debug(`no status: ${textOf(error)}`);
      return;
    }
    if (before !== undefined) {
      if (this.status.shown > before.shown) {
        this.why = undefined;
      }
      const reason =
        newest(before.declined, this.status.declined) ?? newest(before.silent, this.status.silent);
      this.why = reason === undefined ? this.why : { server: reason };
    }
    this.draw();
  }

  draw(): void {
    const editor = window.activeTextEditor;
    const settings = quiet(editor?.document.uri);
    const kind = kindOf({
      running: this.server.running,
      mode: settings.mode,
      snoozedUntil: this.suggest.snoozedUntil,
      now: Date.now(),
      busy: this.suggest.activity.busy,
      status: this.status,
    });
    const told = this.told(kind);
    this.bar.text = `${ICONS[kind]} dgemma`;
    this.bar.tooltip = new MarkdownString(
      this.lines(kind)
        .map(([name, value]) => `**${name}:** ${escaped(value)}`)
        .join('  \n'),
    );
    this.bar.accessibilityInformation = { label: `dgemma: ${told}`, role: 'button' };
    this.bar.backgroundColor =
      kind === 'error' ? new ThemeColor('statusBarItem.warningBackground') : undefined;
    if (editor !== undefined && isServed(editor.document)) {
      const id = editor.document.languageId;
      const enabled = enabledFor(id, settings.languages);
      this.language.text = enabled ? told : l10n.t('off for {0}', id);
      this.language.detail = 'dgemma';
      this.language.busy = kind === 'busy' || kind === 'loading';
      this.language.severity =
        kind === 'error' ? LanguageStatusSeverity.Warning : LanguageStatusSeverity.Information;
      this.language.command = {
        command: 'dgemma.toggleLanguage',
        title: enabled ? l10n.t('Turn Off for {0}', id) : l10n.t('Turn On for {0}', id),
      };
    }
  }

  private told(kind: Kind): string {
    const until = new Date(this.suggest.snoozedUntil).toLocaleTimeString([], {
      hour: '2-digit',
      minute: '2-digit',
    });
    switch (kind) {
      case 'untrusted':
        return l10n.t('nothing is started, since this workspace is not trusted');
      case 'missing':
        return l10n.t('not set up');
      case 'error':
        return this.server.problem ?? this.status?.problem ?? l10n.t('something is wrong');
      case 'off':
        return l10n.t('off');
      case 'snoozed':
        return l10n.t('snoozed until {0}', until);
      case 'busy':
        return l10n.t('working');
      case 'loading':
        return this.status?.runtime?.message || l10n.t('starting');
      case 'manual':
        return l10n.t('ready; only what you ask for is suggested');
      case 'idle':
        return l10n.t('ready');
    }
  }

  /** What is known, as names and values. */
  private lines(kind: Kind): [string, string][] {
    const lines: [string, string][] = [[l10n.t('dgemma'), this.told(kind)]];
    const runtime = this.status?.runtime;
    if (runtime) {
      lines.push(
        [l10n.t('Model'), runtime.model],
        [l10n.t('Device'), deviceOf(runtime)],
        [l10n.t('State'), stateOf(runtime)],
        [
          l10n.t('Memory'),
          runtime.residentMb > 0 ? l10n.t('{0} MiB', runtime.residentMb) : l10n.t('none'),
        ],
      );
    } else if (this.status !== undefined) {
      lines.push([l10n.t('Model'), l10n.t('not running; the first suggestion starts it')]);
    }
    const last = this.status?.lastTotalMs;
    if (typeof last === 'number') {
      lines.push([l10n.t('Last answer'), l10n.t('{0} ms', Math.round(last))]);
    }
    if (this.status !== undefined) {
      lines.push([l10n.t('Shown, accepted'), `${this.status.shown}, ${this.status.accepted}`]);
    }
    if (this.why !== undefined) {
      const why = 'here' in this.why ? ofSilence(this.why.here) : ofServer(this.why.server);
      lines.push([l10n.t('Why silent last'), why]);
    }
    return lines;
  }

  /** The command: what is known, and what can be done about it. */
  async show(): Promise<void> {
    await this.poll();
    const settings = quiet(window.activeTextEditor?.document.uri);
    const kind = kindOf({
      running: this.server.running,
      mode: settings.mode,
      snoozedUntil: this.suggest.snoozedUntil,
      now: Date.now(),
      busy: this.suggest.activity.busy,
      status: this.status,
    });
    type Entry = QuickPickItem & { readonly command?: string };
    const action = (label: string, command: string): Entry => ({ label, command });
    const facts: Entry[] = this.lines(kind).map(([name, value]) => ({
      label: name,
      description: value,
    }));
    const entries: Entry[] = [
      ...facts,
      { label: '', kind: QuickPickItemKind.Separator },
      ...(kind === 'untrusted'
        ? [action(l10n.t('Manage Workspace Trust'), 'workbench.trust.manage')]
        : []),
      ...(kind === 'missing' ? [action(l10n.t('Set Up'), 'dgemma.setUp')] : []),
      action(settings.mode === 'off' ? l10n.t('Turn On') : l10n.t('Turn Off'), 'dgemma.toggle'),
      action(l10n.t('Set Mode…'), 'dgemma.setMode'),
      action(l10n.t('Snooze…'), 'dgemma.snooze'),
      action(l10n.t('Choose Model…'), 'dgemma.chooseModel'),
      action(l10n.t('Free GPU Memory'), 'dgemma.freeMemory'),
      action(l10n.t('Restart'), 'dgemma.restart'),
      action(l10n.t('Doctor Report'), 'dgemma.doctor'),
      action(l10n.t('Show Log'), 'dgemma.showLog'),
      action(l10n.t('Statistics…'), 'dgemma.statistics'),
    ];
    const picked = await window.showQuickPick(entries, {
      title: l10n.t('dgemma'),
      placeHolder: l10n.t('What is to be done?'),
    });
    if (picked?.command !== undefined) {
      await commands.executeCommand(picked.command);
    }
  }
}

function deviceOf(runtime: RuntimeStatus): string {
  const what = [runtime.device || l10n.t('none yet'), runtime.dtype].filter((each) => each !== '');
  const why = runtime.deviceReason === '' ? '' : ` (${runtime.deviceReason})`;
  return what.join(', ') + why;
}

function stateOf(runtime: RuntimeStatus): string {
  const share =
    runtime.progress === null ? '' : l10n.t(', {0} %', Math.round(runtime.progress * 100));
  return `${runtime.state}${runtime.state === 'ready' ? '' : share}`;
}

function escaped(text: string): string {
  return text.replace(/[\\`*_{}[\]()#+\-.!|<>]/g, '\\$&');
}
