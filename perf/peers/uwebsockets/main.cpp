// The peer server over uWebSockets: echo, broadcast or HTTP, on one thread.
//
// Written against the public headers of the library, with the settings that Sockeye's examples
// have. Only what every measured server must share is set: the longest message, the idle timeout,
// the backpressure limit and the compression.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "App.h"

namespace {

struct Options {
    std::string host = "127.0.0.1";
    int port = 9001;
    std::string mode = "echo";
    unsigned int maxPayload = 16 * 1024;
    unsigned short idleTimeout = 120;
    unsigned int maxBackpressure = 64 * 1024;
    std::string compress = "none";
};

const char USAGE[] =
    "A server over uWebSockets.\n"
    "\n"
    "  --host ADDR             [default: 127.0.0.1]\n"
    "  --port N                [default: 9001]\n"
    "  --mode MODE             echo, broadcast, rooms or http [default: echo]\n"
    "  --max-payload BYTES     longest message [default: 16384]\n"
    "  --idle-timeout SECS     0, or 8 to 960 [default: 120]\n"
    "  --max-backpressure BYTES  [default: 65536]\n"
    "  --compress HOW          none, shared, or dedicated [default: none]\n";

[[noreturn]] void fail(const std::string &what) {
    std::fprintf(stderr, "error: %s\n\n%s", what.c_str(), USAGE);
    std::exit(2);
}

unsigned int number(std::string_view name, const char *text, unsigned long most) {
    char *end = nullptr;
    unsigned long value = std::strtoul(text, &end, 10);
    if (end == text || *end != '\0' || value > most) {
        fail(std::string(name) + " takes a number up to " + std::to_string(most));
    }
    return static_cast<unsigned int>(value);
}

Options parse(int argc, char **argv) {
    Options options;
    for (int i = 1; i < argc; i += 2) {
        std::string_view name = argv[i];
        if (name == "--help" || name == "-h") {
            std::fputs(USAGE, stdout);
            std::exit(0);
        }
        if (i + 1 == argc) {
            fail(std::string(name) + " takes a value");
        }
        const char *value = argv[i + 1];
        if (name == "--host") {
            options.host = value;
        } else if (name == "--port") {
            options.port = static_cast<int>(number(name, value, 65535));
        } else if (name == "--mode") {
            options.mode = value;
        } else if (name == "--max-payload") {
            options.maxPayload = number(name, value, 1UL << 30);
        } else if (name == "--idle-timeout") {
            options.idleTimeout = static_cast<unsigned short>(number(name, value, 960));
        } else if (name == "--max-backpressure") {
            options.maxBackpressure = number(name, value, 1UL << 30);
        } else if (name == "--compress") {
            options.compress = value;
        } else {
            fail("no such option: " + std::string(name));
        }
    }
    if (options.mode != "echo" && options.mode != "broadcast" && options.mode != "rooms" &&
        options.mode != "http") {
        fail("--mode takes echo, broadcast, rooms or http");
    }
    if (options.idleTimeout != 0 && options.idleTimeout < 8) {
        fail("--idle-timeout takes 0, or 8 and more");
    }
    return options;
}

uWS::CompressOptions compression(const Options &options) {
    if (options.compress == "none") {
        return uWS::DISABLED;
    }
#ifdef UWS_NO_ZLIB
    fail("--compress needs zlib, which was not there when this server was built");
#endif
    if (options.compress == "shared") {
        return uWS::CompressOptions(uWS::SHARED_COMPRESSOR | uWS::SHARED_DECOMPRESSOR);
    }
    if (options.compress == "dedicated") {
        // Whatever the size asked for, this version uses the smallest dedicated one.
        return uWS::CompressOptions(uWS::DEDICATED_COMPRESSOR | uWS::DEDICATED_DECOMPRESSOR);
    }
    fail("--compress takes none, shared or dedicated");
}

struct Data {};

struct Room {
    std::string name;
};

template <typename T> uWS::App::WebSocketBehavior<T> settings(const Options &options) {
    uWS::App::WebSocketBehavior<T> behavior;
    behavior.compression = compression(options);
    behavior.maxPayloadLength = options.maxPayload;
    behavior.idleTimeout = options.idleTimeout;
    behavior.maxBackpressure = options.maxBackpressure;
    return behavior;
}

// The room is the path.
uWS::App::WebSocketBehavior<Room> rooms(const Options &options) {
    auto behavior = settings<Room>(options);
    behavior.upgrade = [](auto *res, auto *req, auto *context) {
        res->template upgrade<Room>({std::string(req->getUrl())},
                                    req->getHeader("sec-websocket-key"),
                                    req->getHeader("sec-websocket-protocol"),
                                    req->getHeader("sec-websocket-extensions"), context);
    };
    behavior.open = [](auto *ws) { ws->subscribe(ws->getUserData()->name); };
    behavior.message = [](auto *ws, std::string_view message, uWS::OpCode opCode) {
        ws->publish(ws->getUserData()->name, message, opCode);
    };
    return behavior;
}

uWS::App::WebSocketBehavior<Data> behavior(const Options &options) {
    auto behavior = settings<Data>(options);
    const bool compress = behavior.compression != uWS::DISABLED;
    // One lambda for each case, so that no branch is paid for which the server itself has not.
    if (options.mode == "broadcast") {
        behavior.open = [](auto *ws) { ws->subscribe("all"); };
        if (compress) {
            behavior.message = [](auto *ws, std::string_view message, uWS::OpCode opCode) {
                ws->publish("all", message, opCode, true);
            };
        } else {
            behavior.message = [](auto *ws, std::string_view message, uWS::OpCode opCode) {
                ws->publish("all", message, opCode);
            };
        }
    } else if (compress) {
        behavior.message = [](auto *ws, std::string_view message, uWS::OpCode opCode) {
            ws->send(message, opCode, true);
        };
    } else {
        behavior.message = [](auto *ws, std::string_view message, uWS::OpCode opCode) {
            ws->send(message, opCode, false);
        };
    }
    return behavior;
}

} // namespace

int main(int argc, char **argv) {
    const Options options = parse(argc, argv);
    uWS::App app;
    app.get("/", [](auto *res, auto *) { res->end("Hello, world!"); });
    if (options.mode == "rooms") {
        app.ws<Room>("/*", rooms(options));
    } else if (options.mode != "http") {
        app.ws<Data>("/*", behavior(options));
    }
    app.listen(options.host, options.port, [&options](auto *socket) {
        if (!socket) {
            std::fprintf(stderr, "error: cannot listen on %s:%d\n", options.host.c_str(),
                         options.port);
            std::exit(1);
        }
        std::printf("listening on %s:%d\n", options.host.c_str(), options.port);
        std::fflush(stdout);
    });
    app.run();
}
