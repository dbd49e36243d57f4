// ticker: prices that a thread reads and publishes. C++17.
//
//     WebSocketHandler /path/to/ticker.so prices=/srv/prices lock=/srv/lock
//     WebSocketSendQueue 64K latest
//
// The file has lines "ACME 101.25"; who changes it puts another one in its place
// (mv). Text messages: "subscribe ACME", and from then on its price is sent
// every second, with a number that counts up; "unsubscribe ACME"; "alert ACME
// 105": one message, to this client alone, when the price is that or more.
//
// Each process of httpd has such a thread, for the alerts of its own clients. A
// topic reaches the clients of all processes, so only one publishes: the one
// that has the lock.
//
// To be seen here: a thread from child_init to child_exit; topics; references,
// by which any thread reaches a connection; exceptions, which end in callbacks.
//
// Lifetime: Ticker is made with the configuration, in the parent of all
//           processes. Each has its copy, and a thread of its own.
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <fstream>
#include <map>
#include <memory>
#include <mod_websocket.h>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <unistd.h>

namespace {

struct Release {
    void operator()(websocket_ref_t *ref) const
    {
        websocket_ref_release(ref);
    }
};

struct Alert {
    std::unique_ptr<websocket_ref_t, Release> client;
    std::string symbol;
    double price;
};

using Prices = std::map<std::string, double>;

struct Ticker {
    websocket_context_t *context = nullptr;
    int lock = -1;                          // its file
    std::thread thread;
    std::mutex mutex;                       // guards what follows
    std::condition_variable changed;
    bool ends = false;
    Prices prices;
    std::multimap<uint64_t, Alert> alerts;  // by the connection's id

    ~Ticker()
    {
        if (lock >= 0) {
            close(lock);
        }
    }
};

const websocket_option_t options[] = {
    {"prices", WEBSOCKET_STRING, nullptr, 0, 0, "the file of prices; needed"},
    {"lock", WEBSOCKET_STRING, nullptr, 0, 0,
     "a file; the process that has locked it publishes; needed"},
    {"every", WEBSOCKET_DURATION, "1s", 10, 3600000, "how often"},
    {"alerts", WEBSOCKET_INTEGER, "10", 0, 1000, "how many a client may set"},
    {nullptr, 0, nullptr, 0, 0, nullptr},
};

Ticker &ticker_of(const websocket_context_t *context)
{
    return *static_cast<Ticker *>(websocket_context_data(context));
}

// --- the thread ---

Prices read_prices(const websocket_context_t *context)
{
    std::ifstream file(websocket_option_string(context, "prices"));
    Prices prices;
    std::string symbol;
    double price;

    while (file >> symbol >> price) {
        prices[symbol] = price;
    }
    return prices;
}

std::string to_text(const std::string &symbol, double price)
{
    std::ostringstream text;

    text.precision(2);
    text << symbol << ' ' << std::fixed << price;
    return text.str();
}

// Takes it, or has it already. A lock is a process's: when that ends, in whatever
// way, the kernel gives it to who asks next. The file stays over a restart.
bool has_lock(const Ticker &ticker)
{
    struct flock lock = {};

    lock.l_type = F_WRLCK;
    return fcntl(ticker.lock, F_SETLK, &lock) == 0;
}

void publish(const Ticker &ticker, const Prices &prices, unsigned long number)
{
    for (const auto &[symbol, price] : prices) {
        const std::string text =
            to_text(symbol, price) + ' ' + std::to_string(number);

        if (websocket_context_publish(ticker.context, symbol.c_str(),
                                      WEBSOCKET_TEXT, text.data(),
                                      text.size()) != 0) {
            websocket_context_log(ticker.context, WEBSOCKET_LOG_ERROR,
                                  "%s is not published", symbol.c_str());
        }
    }
}

// A send may fail: then the client has gone, and closed() is about to be called.
void send_alerts(Ticker &ticker)
{
    for (auto at = ticker.alerts.begin(); at != ticker.alerts.end();) {
        const Alert &alert = at->second;
        const auto found = ticker.prices.find(alert.symbol);

        if (found == ticker.prices.end() || found->second < alert.price) {
            ++at;
            continue;
        }
        const std::string text =
            "alert " + to_text(alert.symbol, found->second);
        websocket_ref_send(alert.client.get(), WEBSOCKET_TEXT, text.data(),
                           text.size());
        at = ticker.alerts.erase(at);
    }
}

// Reading may block: no client waits for it, as nobody else has the mutex then.
void tick(Ticker &ticker, unsigned long number)
try {
    Prices prices = read_prices(ticker.context);

    if (has_lock(ticker)) {
        publish(ticker, prices, number);
    }
    const std::lock_guard<std::mutex> guard(ticker.mutex);
    ticker.prices = std::move(prices);
    send_alerts(ticker);
}
catch (const std::exception &error) {
    websocket_context_log(ticker.context, WEBSOCKET_LOG_ERROR,
                          "no prices this time: %s", error.what());
}

void run(Ticker &ticker)
{
    const std::chrono::milliseconds every(
        websocket_option_number(ticker.context, "every"));
    std::unique_lock<std::mutex> guard(ticker.mutex);
    unsigned long number = 0;

    while (
        !ticker.changed.wait_for(guard, every, [&] { return ticker.ends; })) {
        guard.unlock();
        tick(ticker, ++number);
        guard.lock();
    }
}

// --- processes ---

const char *configure(websocket_context_t *context)
try {
    const char *path = websocket_option_string(context, "lock");
    auto ticker = std::make_unique<Ticker>();

    if (path == nullptr ||
        websocket_option_string(context, "prices") == nullptr) {
        return "prices=FILE and lock=FILE are needed";
    }
    ticker->context = context;
    ticker->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (ticker->lock < 0) {
        return websocket_context_error(context, "lock: %s: %s", path,
                                       strerror(errno));
    }
    websocket_context_set_data(context, ticker.release(), [](void *data) {
        delete static_cast<Ticker *>(data);
    });
    return nullptr;
}
catch (const std::exception &) {
    return "out of memory";
}

// A thread is born with the mask of its maker. Signals are for httpd's own
// threads: a handler of theirs, run in this one, might wait for it to end.
int child_init(websocket_context_t *context)
{
    Ticker &ticker = ticker_of(context);
    sigset_t all;
    sigset_t before;
    int result = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
        ticker.prices = read_prices(context);
        ticker.ends = false;            // was true in the process before
        ticker.thread = std::thread(run, std::ref(ticker));
    }
    catch (const std::exception &error) {
        websocket_context_log(context, WEBSOCKET_LOG_ERROR, "%s", error.what());
        result = -1;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return result;
}

// When this returns the process may be forked. The new one has the alerts, and
// their references are good there; a thread would not come along, nor a lock.
void child_exit(websocket_context_t *context)
{
    Ticker &ticker = ticker_of(context);

    ticker.mutex.lock();
    ticker.ends = true;
    ticker.mutex.unlock();
    ticker.changed.notify_all();
    if (ticker.thread.joinable()) {     // child_init may have failed
        ticker.thread.join();
    }
}

// --- clients, in their loops ---

bool add_alert(websocket_t *ws, Ticker &ticker, const std::string &symbol,
               double price)
{
    const auto most = websocket_option_number(ticker.context, "alerts");
    const uint64_t id = websocket_id(ws);
    Alert alert{{websocket_ref(ws), {}}, symbol, price};

    if (alert.client == nullptr ||
        ticker.alerts.count(id) >= static_cast<uint64_t>(most)) {
        return false;
    }
    ticker.alerts.emplace(id, std::move(alert));
    return true;
}

const char *obey(websocket_t *ws, std::istream &words)
{
    Ticker &ticker = ticker_of(websocket_context(ws));
    const std::lock_guard<std::mutex> guard(ticker.mutex);
    std::string verb;
    std::string symbol;
    double price = 0;
    bool is_done = false;

    words >> verb >> symbol;
    if (ticker.prices.count(symbol) == 0) {
        return "error: no such symbol";
    }
    if (verb == "subscribe") {
        is_done = websocket_subscribe(ws, symbol.c_str()) == 0;
    }
    else if (verb == "unsubscribe") {
        is_done = websocket_unsubscribe(ws, symbol.c_str()) == 0;
    }
    else if (verb == "alert" && words >> price) {
        is_done = add_alert(ws, ticker, symbol, price);
    }
    return is_done ? "ok" : "error: that cannot be done";
}

void message(websocket_t *ws, int, const void *data, size_t length)
try {
    std::istringstream words({static_cast<const char *>(data), length});
    const char *answer = obey(ws, words);

    websocket_send(ws, WEBSOCKET_TEXT, answer, strlen(answer));
}
catch (const std::exception &error) {
    websocket_log(ws, WEBSOCKET_LOG_ERROR, "%s", error.what());
    websocket_close(ws, 1011, "out of memory");
}

void closed(websocket_t *ws, unsigned, const char *, size_t)
{
    Ticker &ticker = ticker_of(websocket_context(ws));
    const std::lock_guard<std::mutex> guard(ticker.mutex);
    const size_t count = ticker.alerts.erase(websocket_id(ws));

    websocket_log(ws, WEBSOCKET_LOG_DEBUG, "%zu alerts are forgotten", count);
}

// C++17 cannot name fields in braces.
constexpr websocket_handler_t make_handler()
{
    websocket_handler_t handler{};

    handler.abi = WEBSOCKET_ABI;
    handler.size = sizeof(handler);
    handler.name = "ticker";
    handler.options = options;
    handler.option_size = sizeof(options[0]);
    handler.configure = configure;
    handler.child_init = child_init;
    handler.child_exit = child_exit;
    handler.message = message;
    handler.close = closed;
    return handler;
}

} // namespace

const websocket_handler_t websocket_handler = make_handler();
