// Compiled, not run: what realtimehttpauthclient exports and what ./compat
// exports, each assigned to the other where a program could tell.
import * as old from "realtimehttpauthclient";
import * as compat from "../../src/compat/index.js";

/** Without its private members, which make classes of two packages differ. */
type Public<T> = { [K in keyof T]: T[K] };
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const holds = <_T extends true>() => {};
const fits = <T>(_value: T) => {};

// Every value that is exported there is exported here.
holds<Same<Exclude<keyof typeof old, keyof typeof compat>, never>>();

// Types that are data: either way.
holds<Same<compat.HttpMethod, old.HttpMethod>>();
holds<Same<compat.JsonValue, old.JsonValue>>();
holds<Same<compat.HeadersMap, old.HeadersMap>>();
holds<Same<compat.QueryParams, old.QueryParams>>();
holds<Same<compat.HttpRequestOptions<{ a: 1 }>, old.HttpRequestOptions<{ a: 1 }>>>();
holds<Same<compat.RefreshConfig, old.RefreshConfig>>();
holds<Same<compat.OfflineQueueItem, old.OfflineQueueItem>>();
holds<Same<compat.ConnectionState, old.ConnectionState>>();
holds<Same<compat.CsrfConfig, old.CsrfConfig>>();
holds<Same<compat.AckResponse<1>, old.AckResponse<1>>>();
holds<Same<compat.AckCallback<1>, old.AckCallback<1>>>();
holds<Same<compat.SocketEventHandler<1>, old.SocketEventHandler<1>>>();

// Classes: the same members, of the same types but for the socket's own type.
holds<Same<Public<compat.TokenManager>, Public<old.TokenManager>>>();
holds<Same<keyof compat.HttpClient, keyof old.HttpClient>>();
holds<Same<keyof compat.SocketManager, keyof old.SocketManager>>();
holds<Same<keyof compat.RealtimeClient, keyof old.RealtimeClient>>();
holds<Same<keyof compat.UseSocketClientResult, keyof old.UseSocketClientResult>>();
holds<Same<keyof compat.RealtimeClientConfig, keyof old.RealtimeClientConfig>>();
declare const http: compat.HttpClient;
declare const socket: compat.SocketManager;
declare const client: compat.RealtimeClient;
declare const result: compat.UseSocketClientResult;
declare const oldClient: old.RealtimeClient;
declare const oldConfig: Omit<old.RealtimeClientConfig, "onSocketConnect">;
fits<Public<old.HttpClient>>(http);
fits<Omit<Public<old.SocketManager>, "getSocket" | "connect">>(socket);
fits<Omit<old.RealtimeClient, "http" | "socket" | "token" | "refresh" | "getSocket" | "connect">>(client);
fits<Omit<old.UseSocketClientResult, "socket">>(result);
fits<Pick<compat.RealtimeClient, "on" | "once" | "off" | "emit" | "emitAck" | "joinRoom" | "leaveRoom" | "getRooms">>(oldClient);
fits<compat.RealtimeClientConfig>(oldConfig);
fits<Public<old.RefreshManager>>({} as compat.RefreshManager);

// What reads the socket goes on to do so: socket.io-client's fits ours.
fits<Omit<compat.Socket, "on" | "once" | "off" | "emit" | "connect" | "disconnect">>({} as NonNullable<ReturnType<old.RealtimeClient["getSocket"]>>);

// Functions: called as before.
compat.createRealtimeClient({ apiBaseUrl: "", socketUrl: "", socketOptions: { path: "/x", reconnection: true } });
fits<old.HttpClient["get"]>(compat.http.get);
fits<Public<old.HttpClient>>(compat.initializeHttp({ apiBaseUrl: "", socketUrl: "" }));
fits<Public<old.TokenManager>>(compat.createTokenManager({ getAccessToken: async () => null, setAccessToken: () => {}, persistToken: false }));
const tokens = new compat.TokenManager();
const refresh = new compat.RefreshManager({ enabled: true, endpoint: "/x" }, tokens, () => {});
fits<compat.RefreshManager>(compat.createRefreshManager(undefined, tokens));
new compat.HttpClient("", tokens, refresh, () => {}, true, { enabled: true });
new compat.SocketManager({ apiBaseUrl: "", socketUrl: "" }, tokens, refresh, () => {});
fits<typeof old.useConnectionState>(compat.useConnectionState);
fits<typeof old.useSocketEvent>(compat.useSocketEvent);
fits<typeof old.useRoomEvent>(compat.useRoomEvent);
holds<Same<keyof compat.RealtimeProviderProps, keyof old.RealtimeProviderProps>>();

// Who misuses it is told, as before.
// @ts-expect-error socketUrl is missing
compat.createRealtimeClient({ apiBaseUrl: "" });
// @ts-expect-error no such method
client.http.head("/x");
// @ts-expect-error a handler takes what it says
client.on<number>("n", (text: string) => text);
