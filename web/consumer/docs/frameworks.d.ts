// Stand-ins for packages that the recipes use and the tests don't install: the
// part that is used, after their documentation.
declare const process: { env: Record<string, string | undefined> };

declare module "next/headers" {
  export function cookies(): Promise<{ toString(): string }>;
}

declare module "@tanstack/react-start" {
  export function createIsomorphicFn(): {
    server<T>(run: () => T): { client<U>(run: () => U): () => T | U };
  };
}

declare module "@tanstack/react-start/server" {
  export function getRequestHeader(name: string): string | undefined;
}

declare module "@tanstack/react-router" {
  import type { ComponentType, JSX } from "react";
  interface Context {
    client: import("@holdfast/client").RealtimeClient;
    asVisitor: () => import("@holdfast/client").RequestOptions;
  }
  interface Tree<C> {
    readonly context: C;
  }
  export function createRouter<C>(options: {
    routeTree: Tree<C>;
    context: C;
    Wrap?: (props: { children: any }) => JSX.Element;
  }): { navigate(to: { to: string }): void };
  export function createRootRouteWithContext<C>(): (options: { component?: ComponentType }) => Tree<C>;
  export function createFileRoute(path: string): <D>(options: {
    loader: (given: { context: Context; params: Record<string, string> }) => Promise<D>;
    component: ComponentType;
  }) => { useLoaderData(): D };
}

declare module "@react-native-async-storage/async-storage" {
  const storage: {
    getItem(key: string): Promise<string | null>;
    setItem(key: string, value: string): Promise<void>;
    removeItem(key: string): Promise<void>;
  };
  export default storage;
}

declare module "react-native" {
  export const AppState: {
    addEventListener(type: "change", listener: (state: "active" | "background" | "inactive") => void): { remove(): void };
  };
}

declare module "react-native-url-polyfill/auto";
