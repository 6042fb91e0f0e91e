// A browser's tab in which a page uses `useChat`, rendered by React, with a real fetch.

import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";
import { createElement, useState } from "react";
import { create } from "react-test-renderer";

import { settings } from "./scenario.mjs";

const LONGEST_WAIT = 60_000;

export class Tab {
  // Options are useChat's, but for `body`, which is sent with each request, and `key`.
  constructor({ id, key = settings.key, body = {}, ...options }) {
    Object.assign(this, { statuses: [], errors: [], data: [], chunks: [], requests: [], ends: 0, waiting: new Set() });
    const transport = new DefaultChatTransport({
      api: `${settings.url}/v1/ui/chat`,
      headers: { authorization: `Bearer ${key}` },
      body,
      fetch: (url, init) => this.fetch(url, init),
    });
    const page = () => {
      // Counted as the page's state, so that whoever waits for an end sees the page as it is then.
      const [ends, setEnds] = useState(0);
      this.chat = useChat({
        id,
        transport,
        onError: (error) => this.errors.push(error.message),
        onData: (part) => this.data.push(part),
        onFinish: () => setEnds((count) => count + 1),
        ...options,
      });
      this.ends = ends;
      if (this.statuses.at(-1) !== this.chat.status) this.statuses.push(this.chat.status);
      queueMicrotask(() => this.changed());
      return createElement("output", null, this.text());
    };
    this.root = create(createElement(page));
  }

  // A tab whose page is there.
  static async open(options) {
    const tab = new Tab(options);
    await tab.until(() => tab.chat);
    return tab;
  }

  // The real one; what comes of it is noted on its way.
  async fetch(url, init) {
    const answer = await globalThis.fetch(url, init);
    const header = answer.headers.get("x-vercel-ai-ui-message-stream");
    const replayed = answer.headers.get("idempotency-replayed");
    this.requests.push({ method: init.method, status: answer.status, header, replayed });
    this.last = { url, init };
    this.changed();
    if (!answer.ok || answer.body === null) return answer;
    const [shown, noted] = answer.body.tee();
    // Where the page has gone its request is aborted, and there is nothing more to note.
    this.note(noted).catch(() => {});
    return new Response(shown, { status: answer.status, headers: answer.headers });
  }

  async note(body) {
    let text = "";
    for await (const piece of body.pipeThrough(new TextDecoderStream())) {
      text += piece;
      const blocks = text.split("\n\n");
      text = blocks.pop();
      this.chunks.push(...blocks.filter((block) => block.startsWith("data: ")).map((block) => block.slice(6)));
      this.changed();
    }
  }

  // Does something with the page, and waits until the page shows what came of it.
  async until_done(work) {
    const { ends } = this;
    await work(this.chat);
    await this.until(() => this.ends > ends);
  }

  // Waits until the page shows what is looked for.
  async until(condition) {
    const noticed = new Promise((resolve, reject) => {
      const words = () => `never so: ${condition}: ${JSON.stringify(this.chat && this.seen())}`;
      const timer = setTimeout(() => reject(new Error(words())), LONGEST_WAIT);
      const look = () => {
        if (!condition(this)) return;
        clearTimeout(timer);
        this.waiting.delete(look);
        resolve();
      };
      this.waiting.add(look);
    });
    this.changed();
    await noticed;
  }

  changed() {
    for (const look of [...this.waiting]) look();
  }

  text() {
    return this.parts("text").map((part) => part.text).join("");
  }

  parts(type) {
    const last = this.chat.messages.at(-1);
    return last?.role === "assistant" ? last.parts.filter((part) => part.type === type) : [];
  }

  // As a tab that is closed: the page is gone, and its requests with it.
  close() {
    this.root.unmount();
  }

  seen() {
    const { messages, status } = this.chat;
    const { statuses, errors, data, chunks, requests } = this;
    return { messages, status, statuses, errors, data, chunks, requests };
  }
}
