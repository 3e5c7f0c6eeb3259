import * as testing from "@holdfast/client/testing";

export const names: string[] = Object.keys(testing);
