// The chat example as people use it: several tabs, a server that restarts, hostile names.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { setups, start } from "../interop/server.js";
import { launch, open, screenshot } from "./browser.js";

const PHONE = {
  viewport: { width: 390, height: 780 },
  deviceScaleFactor: 2,
  isMobile: true,
  hasTouch: true,
  colorScheme: "dark",
};

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

const log = (page) => page.getByRole("log");
const composer = (page) => page.getByLabel("Message", { exact: true });
const status = (page) => page.locator("#status");
const people = (page) => page.locator("#people .name").allTextContents();

async function join(page, name, room = "lobby") {
  await page.getByLabel("Your name").fill(name);
  await page.getByLabel("Room", { exact: true }).fill(room);
  await page.getByRole("button", { name: "Join" }).click();
}

async function say(page, text) {
  await composer(page).fill(text);
  await composer(page).press("Enter");
}

/** Waits until the element has the text. */
const sees = (locator, text) => locator.getByText(text, { exact: true }).first().waitFor();

async function shows(locator, text) {
  await locator.filter({ hasText: text }).waitFor();
}

for (const setup of setups) {
  describe(`chat on ${setup.backend} with ${setup.workers} worker(s)`, () => {
    let server;
    let pages;

    beforeEach(async () => {
      server = await start("chat", setup);
      pages = [];
    });

    afterEach(async () => {
      const faults = pages.flatMap((page) => page.faults);
      await Promise.all(pages.map((page) => page.context().close()));
      const { code, stderr } = await server.stop();
      assert.deepEqual(faults, []);
      assert.equal(code, 0, stderr);
    });

    async function enter(name, room, options) {
      const page = await open(browser, `http://${server.address}/`, options);
      pages.push(page);
      await join(page, name, room);
      await shows(status(page), "Online");
      return page;
    }

    test("two people talk, and one leaves", async () => {
      const ada = await enter("Ada");
      const grace = await enter("Grace", "lobby", PHONE);
      await sees(log(ada), /^Grace joined/);
      assert.deepEqual(await people(ada), ["Ada", "Grace"]);
      assert.deepEqual(await people(grace), ["Grace", "Ada"]);

      await say(ada, "Good morning, Grace");
      await sees(log(grace), "Good morning, Grace");
      await say(grace, "Hello, Ada: ünïcödé, 漢字");
      await sees(log(ada), "Hello, Ada: ünïcödé, 漢字");
      assert.equal(await log(ada).locator(".own .bubble").count(), 1);
      assert.equal(await log(ada).locator(".group:not(.own) .bubble").count(), 1);
      await screenshot(ada, `chat-${setup.backend}-${setup.workers}-desktop`);
      await screenshot(grace, `chat-${setup.backend}-${setup.workers}-phone`);

      await grace.getByRole("button", { name: "Leave" }).click();
      await sees(log(ada), /^Grace left/);
      assert.deepEqual(await people(ada), ["Ada"]);
    });

    test("a closed tab leaves, too", async () => {
      const ada = await enter("Ada");
      const grace = await enter("Grace");
      await sees(log(ada), /^Grace joined/);
      await grace.context().close();
      await sees(log(ada), /^Grace left/);
    });

    test("who comes late reads what was said", async () => {
      const ada = await enter("Ada");
      await say(ada, "first");
      await say(ada, "second");
      await sees(log(ada), "second");
      const late = await enter("Late");
      await sees(log(late), "second");
      const texts = await log(late).locator(".bubble").allTextContents();
      assert.deepEqual(texts, ["first", "second"]);
    });

    test("rooms hear nothing of each other", async () => {
      const ada = await enter("Ada", "here");
      const grace = await enter("Grace", "there");
      const linus = await enter("Linus", "here");
      await say(grace, "over there");
      await sees(log(grace), "over there");
      await say(linus, "over here");
      await sees(log(ada), "over here");
      assert.equal(await log(ada).getByText("over there").count(), 0);
      assert.deepEqual(await people(ada), ["Ada", "Linus"]);
    });

    test("markup stays text", async () => {
      const name = "<img src=x onerror=alert(1)>";
      const text = "<script>alert(2)</script> & <b>bold</b>";
      const mallory = await enter(name, "<i>room</i>");
      const ada = await enter("Ada", "<i>room</i>");
      await say(mallory, text);
      await sees(log(ada), text);
      assert.deepEqual(await people(ada), ["Ada", name]);
      assert.equal(await ada.locator("#room-title").textContent(), "<i>room</i>");
      assert.equal(await ada.locator("img, #log script, #log b:not(.by b), h1 i").count(), 0);
    });

    test("a name is given once in a room", async () => {
      await enter("Ada");
      const second = await open(browser, `http://${server.address}/`);
      pages.push(second);
      await join(second, "Ada");
      await shows(second.getByRole("alert"), "taken");
      await screenshot(second, `chat-${setup.backend}-${setup.workers}-refused`);
      await join(second, "Ada", "elsewhere");
      await shows(status(second), "Online");
    });

    test("after a restart of the server everyone is back", async () => {
      const ada = await enter("Ada");
      const grace = await enter("Grace");
      await say(ada, "before");
      await sees(log(grace), "before");
      const { address } = server;
      const { code, stderr } = await server.stop();
      assert.equal(code, 0, stderr);
      await shows(status(ada), "Offline");
      await sees(log(ada), /^Connection lost/);
      await screenshot(ada, `chat-${setup.backend}-${setup.workers}-offline`);
      assert.equal(await ada.getByRole("button", { name: "Send" }).isDisabled(), true);

      server = await start("chat", { ...setup, listen: address });
      await shows(status(ada), "Online");
      await shows(status(grace), "Online");
      await grace.waitForFunction(() => document.querySelectorAll("#people li").length === 2);
      await say(ada, "after");
      await sees(log(grace), "after");
      const texts = await log(grace).locator(".bubble").allTextContents();
      assert.deepEqual(texts, ["before", "after"]);
    });
  });
}
